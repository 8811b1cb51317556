//! When held interrupts are due.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// A one-shot timerfd(2) on the monotonic clock.
#[derive(Debug)]
pub(crate) struct Timer {
    fd: OwnedFd,
    armed: bool,
}

impl Timer {
    /// A timer that is not armed.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Self { fd, armed: false })
    }

    /// Makes the descriptor readable after `delay`, unless it is to become so already.
    pub(crate) fn arm(&mut self, delay: Duration) {
        if !std::mem::replace(&mut self.armed, true) {
            self.set(delay);
        }
    }

    /// Makes the descriptor not readable, now and later.
    pub(crate) fn disarm(&mut self) {
        if std::mem::take(&mut self.armed) {
            self.set(Duration::ZERO);
        }
    }

    fn set(&self, delay: Duration) {
        let once = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec {
                tv_sec: delay.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: delay.subsec_nanos().into(),
            },
        };
        // Only a delay that is no time can be refused.
        let _ = timerfd_settime(&self.fd, TimerfdTimerFlags::empty(), &once);
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
