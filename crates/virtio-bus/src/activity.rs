//! Whether the threads of runners have something to do.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};

/// What goes on on the threads of all runners that were given this one, for a VMM that lets a
/// driver go on only when its devices have seen what it did: one without processors, that is driven
/// access by access, or that steps a clock.
///
/// A thread that reports here takes a lock before and after it sleeps; others take none.
#[derive(Clone)]
pub struct Activity(Arc<Shared>);

struct Shared {
    /// Threads that do not sleep.
    awake: Mutex<usize>,
    /// A thread went to sleep, or ended.
    calmed: Condvar,
    /// Has of each thread what it sleeps on: readable when one is about to wake.
    alarms: Epoll,
}

impl Activity {
    /// Nothing is going on yet.
    ///
    /// # Errors
    /// A host that has no descriptors left.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(Shared {
            awake: Mutex::new(0),
            calmed: Condvar::new(),
            alarms: Epoll::new()?,
        })))
    }

    /// Waits until every thread sleeps, for `limit` at most: each has then seen what happened
    /// before the call, and done what it can. Requests may be in flight; a job that drains is
    /// waited for. False where there was always something to do.
    pub fn settle(&self, limit: Duration) -> bool {
        // A thread that was woken counts itself before it reads what woke it, so under the lock it
        // is seen by one or by the other.
        let busy = |awake: &mut usize| *awake > 0 || self.is_alarmed();
        let calm = self.0.calmed.wait_timeout_while(self.lock(), limit, busy);
        !calm.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    fn is_alarmed(&self) -> bool {
        let mut events = [EpollEvent::default()];
        // Without a time to wait nothing can fail.
        self.0.alarms.wait(0, &mut events).unwrap_or(0) > 0
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.0.awake.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread in an [`Activity`], if it is in one. It sleeps at first. When it has left, nobody reads
/// its alarm any more, which must be closed by then, or never be readable again.
pub(crate) struct Presence {
    activity: Option<Activity>,
    awake: bool,
}

impl Presence {
    /// A thread that wakes when `alarm` is readable.
    pub(crate) fn new(activity: Option<&Activity>, alarm: &impl AsRawFd) -> io::Result<Self> {
        if let Some(Activity(shared)) = activity {
            let (add, events) = (ControlOperation::Add, EpollEvent::new(EventSet::IN, 0));
            shared.alarms.ctl(add, alarm.as_raw_fd(), events)?;
        }
        Ok(Self {
            activity: activity.cloned(),
            awake: false,
        })
    }

    /// Is awake from now on, but in [`sleep`](Self::sleep).
    pub(crate) fn wake(&mut self) {
        self.set(true);
    }

    /// Sleeps in `wait`, until the alarm.
    pub(crate) fn sleep<T>(&mut self, wait: impl FnOnce() -> T) -> T {
        self.set(false);
        let woke = wait();
        self.set(true);
        woke
    }

    fn set(&mut self, awake: bool) {
        let Some(activity) = &self.activity else {
            return;
        };
        let mut threads = activity.lock();
        *threads = *threads - usize::from(self.awake) + usize::from(awake);
        self.awake = awake;
        drop(threads);
        if !awake {
            activity.0.calmed.notify_all();
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.set(false);
    }
}
