//! What wakes a channel whose requests wait.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::Timer;

/// A timer that any member of a group may set for the channel that has it, with the group locked.
#[derive(Debug)]
pub(super) struct Alarm {
    timer: Timer,
    /// When it goes off, in nanoseconds.
    due: AtomicU64,
}

impl Alarm {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            timer: Timer::new()?,
            due: AtomicU64::new(NEVER),
        })
    }

    /// Has the next [`set`](Self::set) set it, whatever it is set for: it may have gone off.
    pub(super) fn heard(&self) {
        self.due.store(UNKNOWN, Ordering::Relaxed);
    }

    /// Has it go off at `due`, and not before, if at all.
    pub(super) fn set(&self, due: Option<u64>, now: u64) {
        let due = due.unwrap_or(NEVER);
        if self.due.swap(due, Ordering::Relaxed) == due {
            return;
        }
        self.timer.set(match due {
            NEVER => Duration::ZERO,
            // A time of zero would be never.
            due => Duration::from_nanos(due.saturating_sub(now).max(1)),
        });
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}

const NEVER: u64 = u64::MAX;
const UNKNOWN: u64 = NEVER - 1;
