//! What monitors are not told of more often than once a second, since a guest may bring it about as
//! often as it likes.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use event_manager::{EventOps, EventSet, EventSubscriber, Events};
use virtio_device::Timer;

/// Wakes the main thread when there may be news again.
pub(super) struct NewsTimer(Mutex<Timer>);

impl NewsTimer {
    /// One that wakes nobody yet.
    ///
    /// # Errors
    /// A host without timers to give.
    pub(super) fn new() -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self(Mutex::new(Timer::new()?))))
    }

    /// Whether something that was told at `last`, if ever, may be told at `now`. If not, the main
    /// thread is woken when it may.
    pub(super) fn is_due(&self, last: Option<Instant>, now: Instant) -> bool {
        let since = last.map(|last| now.duration_since(last));
        let early = since.and_then(|since| PERIOD.checked_sub(since));
        let early = early.filter(|early| !early.is_zero());
        if let Some(early) = early {
            self.lock().fire_in(early);
        }
        early.is_none()
    }

    fn lock(&self) -> MutexGuard<'_, Timer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsRawFd for NewsTimer {
    fn as_raw_fd(&self) -> RawFd {
        self.lock().as_fd().as_raw_fd()
    }
}

impl EventSubscriber for NewsTimer {
    fn init(&self, ops: &mut EventOps) {
        let _ = ops.add(Events::new(self, EventSet::IN));
    }

    /// Wakes the main thread, which then looks.
    fn process(&self, _: Events, _: &mut EventOps) {
        self.lock().disarm();
    }
}

pub(super) const PERIOD: Duration = Duration::from_secs(1);
