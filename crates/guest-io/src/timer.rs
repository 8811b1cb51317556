//! A one-shot timer that an event loop can watch, for workers that have to wait.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// A timerfd(2) on the monotonic clock, which becomes readable once.
#[derive(Debug)]
pub struct Timer {
    fd: OwnedFd,
    /// Whether it will become readable, or has.
    armed: bool,
}

impl Timer {
    /// A timer that is not armed.
    ///
    /// # Errors
    /// Where the host is out of descriptors or memory.
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Self { fd, armed: false })
    }

    /// Makes the descriptor readable after `delay`, whatever it was armed for.
    pub fn fire_in(&mut self, delay: Duration) {
        // A time of zero would be never.
        self.set(delay.max(Duration::from_nanos(1)));
        self.armed = true;
    }

    /// Makes the descriptor readable after `delay`, unless it is armed already.
    pub fn arm(&mut self, delay: Duration) {
        if !self.armed {
            self.fire_in(delay);
        }
    }

    /// Makes the descriptor not readable, now and later.
    pub fn disarm(&mut self) {
        if std::mem::take(&mut self.armed) {
            self.set(Duration::ZERO);
        }
    }

    /// Makes the descriptor readable after `delay`, or never if that is zero.
    pub(crate) fn set(&self, delay: Duration) {
        let once = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec {
                tv_sec: delay.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: delay.subsec_nanos().into(),
            },
        };
        // It refuses only what is no time.
        let _ = timerfd_settime(&self.fd, TimerfdTimerFlags::empty(), &once);
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::Timer;
    use std::time::{Duration, Instant};

    fn is_readable(timer: &Timer) -> bool {
        rustix::io::read(timer, &mut [0; 8]).is_ok()
    }

    fn await_firing(timer: &Timer) {
        let start = Instant::now();
        while !is_readable(timer) {
            assert!(start.elapsed() < Duration::from_secs(60), "it never fires");
        }
    }

    #[test]
    fn timer_fires_once_unless_it_is_disarmed() {
        let mut timer = Timer::new().unwrap();
        timer.fire_in(Duration::ZERO);
        await_firing(&timer);
        assert!(!is_readable(&timer));
        timer.fire_in(Duration::ZERO);
        timer.disarm();
        assert!(!is_readable(&timer));
    }

    #[test]
    fn timer_that_is_armed_keeps_its_time() {
        let mut timer = Timer::new().unwrap();
        timer.arm(Duration::from_secs(3600));
        timer.arm(Duration::ZERO);
        std::thread::sleep(Duration::from_millis(5));
        assert!(!is_readable(&timer));
        timer.disarm();
        timer.arm(Duration::ZERO);
        await_firing(&timer);
    }
}
