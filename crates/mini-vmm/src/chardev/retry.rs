//! A client that tries again, so long after it failed.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::files::{Endpoint, Files};

#[derive(Debug)]
pub(super) struct Retry {
    delay: Duration,
    timer: OwnedFd,
    files: Arc<Files>,
}

impl Retry {
    pub(super) fn new(delay: Duration, files: Arc<Files>) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        Ok(Self {
            delay,
            timer: timerfd_create(TimerfdClockId::Monotonic, flags)?,
            files,
        })
    }

    /// Readable when it is time.
    pub(super) fn timer(&self) -> &OwnedFd {
        &self.timer
    }

    /// Has the timer tell when it is time to try again.
    pub(super) fn wait(&self) {
        let once = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec {
                tv_sec: self.delay.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: self.delay.subsec_nanos().into(),
            },
        };
        // A timer that is open and a time that is one cannot be refused.
        let _ = timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once);
    }

    /// Whether it is time, which is asked once.
    pub(super) fn is_due(&self) -> bool {
        rustix::io::read(&self.timer, &mut [0; 8]).is_ok()
    }

    pub(super) fn connect(&self, endpoint: &Endpoint) -> io::Result<OwnedFd> {
        self.files.connect(endpoint)
    }
}
