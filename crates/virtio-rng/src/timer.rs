//! A one-shot timer that an event loop can watch.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// A timerfd(2) on the monotonic clock.
pub(crate) struct Timer(OwnedFd);

impl Timer {
    /// A timer that is not armed.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        Ok(Self(timerfd_create(TimerfdClockId::Monotonic, flags)?))
    }

    /// Makes the descriptor readable after `delay`, which is not zero.
    pub(crate) fn fire_in(&self, delay: Duration) -> io::Result<()> {
        self.set(Timespec {
            tv_sec: delay.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: delay.subsec_nanos().into(),
        })
    }

    /// Makes the descriptor not readable, now and later.
    pub(crate) fn disarm(&self) -> io::Result<()> {
        self.set(Timespec::default())
    }

    fn set(&self, it_value: Timespec) -> io::Result<()> {
        let once = Itimerspec {
            it_interval: Timespec::default(),
            it_value,
        };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
