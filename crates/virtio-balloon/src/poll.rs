//! When to ask the guest for statistics.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// A timer that fires again and again, set from one thread and heard by another.
#[derive(Debug)]
pub(crate) struct Poll {
    timer: OwnedFd,
    seconds: AtomicU32,
}

impl Poll {
    /// One that does not fire.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        Ok(Self {
            timer: timerfd_create(TimerfdClockId::Monotonic, flags)?,
            seconds: AtomicU32::new(0),
        })
    }

    /// Seconds between two times; 0 for never.
    pub(crate) fn interval(&self) -> u32 {
        self.seconds.load(Ordering::Acquire)
    }

    pub(crate) fn set_interval(&self, seconds: u32) -> io::Result<()> {
        let every = Timespec {
            tv_sec: seconds.into(),
            tv_nsec: 0,
        };
        let spec = Itimerspec {
            it_interval: every,
            it_value: every,
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &spec)?;
        self.seconds.store(seconds, Ordering::Release);
        Ok(())
    }

    /// It has been heard. Somebody may have set it anew meanwhile: then there is nothing to read.
    pub(crate) fn hear(&self) {
        let _ = rustix::io::read(&self.timer, &mut [0; 8]);
    }
}

impl AsFd for Poll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}
