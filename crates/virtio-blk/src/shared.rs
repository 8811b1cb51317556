//! What the device and its workers have in common.

use std::sync::atomic::{AtomicBool, Ordering};

use guest_io::block::Failures;

use crate::limits::Limits;

/// Read by the workers at each request, written by the control plane.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) limits: Limits,
    /// What GET_ID answers.
    pub(crate) id: [u8; 20],
    /// The `writeback` field of the configuration space.
    pub(crate) write_back: AtomicBool,
    /// Requests that the back-end failed.
    pub(crate) failures: Failures,
}

/// When a write is on stable storage (section 5.2.6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cache {
    /// When it completes.
    WriteThrough,
    /// When a flush after it completes.
    WriteBack,
    /// As the `writeback` field says when the write begins.
    Configured,
}

impl Shared {
    /// Whether a write that begins now must be stable when it completes.
    pub(crate) fn stable(&self, cache: Cache) -> bool {
        match cache {
            Cache::WriteThrough => true,
            Cache::WriteBack => false,
            Cache::Configured => !self.write_back.load(Ordering::Acquire),
        }
    }
}
