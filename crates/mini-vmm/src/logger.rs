//! Messages of the libraries, on standard error.

use log::{LevelFilter, Log, Metadata, Record};

/// Prints warnings and errors from now on.
pub fn install() {
    if log::set_logger(&Stderr).is_ok() {
        log::set_max_level(LevelFilter::Warn);
    }
}

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            eprintln!("mini-vmm: {}: {}", record.target(), record.args());
        }
    }

    fn flush(&self) {}
}
