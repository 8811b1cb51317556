//! Waiting for what somebody else does at their own pace.

use std::time::{Duration, Instant};

/// Tries until there is something, which is not waited for forever.
///
/// # Panics
/// If there is nothing after [`PATIENCE`]; `what` says what was waited for.
pub fn wait_for<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// How long the slowest of what is waited for may take, on the busiest of machines.
pub const PATIENCE: Duration = Duration::from_secs(30);
