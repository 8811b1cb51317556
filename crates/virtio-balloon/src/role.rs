//! What each queue is for (section 5.5.2).

use virtio_device::Features;

use crate::layout::{FREE_PAGE_HINT, PAGE_REPORTING, STATS_VQ};

/// The purpose of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Inflate,
    Deflate,
    Stats,
    Hints,
    Reports,
}

impl Role {
    /// The queues of a driver that has negotiated `features`, by index.
    ///
    /// Drivers and devices in use number the queues that there are, one after the other, where the
    /// specification has a number for each: reports come fourth where there are no hints.
    pub(crate) fn all(features: Features) -> impl Iterator<Item = Self> {
        let optional = [
            (STATS_VQ, Self::Stats),
            (FREE_PAGE_HINT, Self::Hints),
            (PAGE_REPORTING, Self::Reports),
        ];
        let there = optional
            .into_iter()
            .filter(move |(feature, _)| features.contains(*feature));
        let always = [Self::Inflate, Self::Deflate].into_iter();
        always.chain(there.map(|(_, role)| role))
    }
}
