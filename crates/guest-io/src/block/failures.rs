//! Failed requests, as the log hears of them.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the requests that the back-end of a disk has failed.
#[derive(Debug, Default)]
pub struct Failures(AtomicU64);

impl Failures {
    /// Tells the log of a failed request. A guest can have many of them, so only the 1st, 2nd,
    /// 4th, 8th, ... in the life of the device are told.
    pub fn report(&self, error: &io::Error) {
        let count = self.0.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        if count.is_power_of_two() {
            log::warn!("a disk request failed (the {count}. of this device): {error}");
        }
    }
}
