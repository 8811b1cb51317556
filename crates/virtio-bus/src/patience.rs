//! How long a thread polls before it sleeps.

use std::time::{Duration, Instant};

/// How long to look for work before sleeping.
pub(crate) struct Patience {
    /// The longest it looks.
    pub(crate) limit: Duration,
    /// What the last work justifies.
    window: Duration,
    /// Whether looking for about that long would have found what ended the last sleep.
    pays: bool,
    /// When the work began that is being done.
    busy_since: Instant,
}

impl Patience {
    pub(crate) fn new(limit: Duration) -> Self {
        Self {
            limit,
            window: Duration::ZERO,
            pays: false,
            busy_since: Instant::now(),
        }
    }

    /// Has `look` look for work for a while, if that pays. True as soon as there is some.
    pub(crate) fn poll(&mut self, mut look: impl FnMut() -> bool) -> bool {
        let start = Instant::now();
        self.window = self.limit.min((start - self.busy_since) * TIMES);
        while self.pays && start.elapsed() < self.window {
            if look() {
                self.busy_since = Instant::now();
                return true;
            }
            // Whoever waits for this processor, a vCPU perhaps, goes first.
            std::thread::yield_now();
        }
        false
    }

    /// Work came after a sleep that began at `asleep`. Part of that sleep was its own doing: the
    /// notification and the way back.
    pub(crate) fn woke(&mut self, asleep: Instant) {
        self.busy_since = Instant::now();
        self.pays = self.busy_since - asleep < self.window * 2;
    }
}

/// A notification and the way out of sleep cost some times what serving a request does, and a driver that
/// has more to ask for takes some times as long to ask. Where that is just not waited for, which was so at
/// half of this one level of virtualization down, the driver pays for both with most of its requests.
const TIMES: u32 = 16;
