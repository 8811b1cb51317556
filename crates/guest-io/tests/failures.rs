//! What the log hears of requests that a back-end fails.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use guest_io::block::{Direction, ErrorPolicy, Failures, OnError};
use log::{LevelFilter, Log, Metadata, Record};

static LINES: AtomicUsize = AtomicUsize::new(0);

struct Counter;

impl Log for Counter {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, _: &Record<'_>) {
        LINES.fetch_add(1, Ordering::Relaxed);
    }

    fn flush(&self) {}
}

/// A guest can fail as many requests as it likes.
#[test]
fn the_log_hears_of_a_failure_once_and_of_many_seldom() {
    log::set_logger(&Counter).unwrap();
    log::set_max_level(LevelFilter::Trace);
    let error = io::Error::from_raw_os_error(libc::EIO);
    for policy in [OnError::Report, OnError::Ignore, OnError::Stop] {
        let failures = Failures::default();
        let both = ErrorPolicy {
            read: policy,
            write: policy,
        };
        failures.appoint(both, |_| ());
        failures.judge(Direction::Read, &error);
        assert_eq!(LINES.swap(0, Ordering::Relaxed), 1, "{policy:?}");
        (1..1000).for_each(|_| {
            failures.judge(Direction::Write, &error);
        });
        assert_eq!(LINES.swap(0, Ordering::Relaxed), 9, "{policy:?}");
    }
}
