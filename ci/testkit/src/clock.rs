//! Throttle groups under a clock of the test's own.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use guest_io::block::{Limit, Rate, Rates, ThrottleGroup, ThrottleMember};

/// A clock that stands still but for [`advance`](Self::advance).
#[derive(Clone, Default)]
pub struct Clock(Arc<AtomicU64>);

impl Clock {
    /// Has time pass.
    pub fn advance(&self, time: Duration) {
        self.0.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }

    /// A group that goes by it.
    pub fn group(&self, rates: Rates) -> Arc<ThrottleGroup> {
        let now = self.0.clone();
        let clock = move || Duration::from_nanos(now.load(Ordering::Relaxed));
        Arc::new(ThrottleGroup::with_clock(rates, clock))
    }
}

/// So many requests in a second, and a tenth of that at once.
pub fn requests(rate: u64) -> Rates {
    Rates {
        operations: NonZeroU64::new(rate).map(|rate| Limit::Total(Rate::new(rate))),
        ..Rates::default()
    }
}

/// A new member of `group`.
pub fn member(group: &Arc<ThrottleGroup>) -> Arc<ThrottleMember> {
    let member = ThrottleMember::new();
    member.join(Some(Arc::clone(group)));
    Arc::new(member)
}
