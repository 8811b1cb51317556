//! A one-shot timer that an event loop can watch, for workers that have to wait.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// A timerfd(2) on the monotonic clock: a [`Source`](crate::Source) that becomes readable once.
#[derive(Debug)]
pub struct Timer(OwnedFd);

impl Timer {
    /// A timer that is not armed.
    ///
    /// # Errors
    /// Where the host is out of descriptors or memory.
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        Ok(Self(timerfd_create(TimerfdClockId::Monotonic, flags)?))
    }

    /// Makes the descriptor readable after `delay`, which is not zero.
    ///
    /// # Errors
    /// Those of `timerfd_settime(2)`.
    pub fn fire_in(&self, delay: Duration) -> io::Result<()> {
        self.set(Timespec {
            tv_sec: delay.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: delay.subsec_nanos().into(),
        })
    }

    /// Makes the descriptor not readable, now and later.
    ///
    /// # Errors
    /// Those of `timerfd_settime(2)`.
    pub fn disarm(&self) -> io::Result<()> {
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
