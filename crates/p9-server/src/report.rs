//! What the log is told of a host that fails.

use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::Errno;

/// Counts failures that are the host's, and says so at the 1st, 2nd, 4th, 8th, ... of them: the
/// client decides how often it runs into one.
#[derive(Debug, Default)]
pub(crate) struct Report {
    failures: AtomicU64,
}

impl Report {
    /// Takes note of `errno`, which a client is told.
    pub(crate) fn note(&self, errno: Errno) {
        if !HOST.contains(&errno) {
            return;
        }
        let count = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if count.is_power_of_two() {
            log::warn!("shared directory: {errno} (failure {count})");
        }
    }
}

/// What a client cannot bring about by what it asks for.
const HOST: [Errno; 8] = [
    Errno::IO,
    Errno::NOSPC,
    Errno::DQUOT,
    Errno::NFILE,
    Errno::MFILE,
    Errno::NOMEM,
    Errno::NODEV,
    Errno::STALE,
];
