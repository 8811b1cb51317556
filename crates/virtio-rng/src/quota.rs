//! The rate limit: so many bytes in each period.

use std::time::{Duration, Instant};

use crate::RngProps;

/// How much of the current period's bytes is left.
#[derive(Clone, Debug)]
pub(crate) struct Quota {
    limit: u64,
    period: Duration,
    left: u64,
    /// When the current period ends. Periods begin with a request, not with the clock.
    renewal: Option<Instant>,
}

impl Quota {
    pub(crate) fn new(props: &RngProps) -> Self {
        Self {
            limit: props.max_bytes,
            period: Duration::from_millis(props.period.into()),
            left: props.max_bytes,
            renewal: None,
        }
    }

    /// Bytes that may be given now.
    pub(crate) fn left(&mut self, now: Instant) -> u64 {
        if self.renewal.is_some_and(|renewal| renewal <= now) {
            self.left = self.limit;
            self.renewal = None;
        }
        self.left
    }

    /// Counts bytes that were given.
    pub(crate) fn spend(&mut self, bytes: u64, now: Instant) {
        self.left = self.left.saturating_sub(bytes);
        self.renewal.get_or_insert(now + self.period);
    }

    /// How long until there are more; never zero.
    pub(crate) fn wait(&mut self, now: Instant) -> Duration {
        let renewal = *self.renewal.get_or_insert(now + self.period);
        renewal
            .saturating_duration_since(now)
            .max(Duration::from_millis(1))
    }
}
