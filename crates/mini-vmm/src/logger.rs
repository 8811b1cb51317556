//! Messages on standard error: those of the libraries, and what the VMM itself has to say.

use std::fmt::Arguments;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use log::{LevelFilter, Log, Metadata, Record};

/// Prints warnings and errors from now on.
pub fn install() {
    if log::set_logger(&Stderr).is_ok() {
        log::set_max_level(LevelFilter::Warn);
    }
}

/// Prints a line. Nobody may be there to read it, which is no reason to end.
pub fn tell(line: Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "mini-vmm: {line}");
}

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let mut allowance = ALLOWANCE.lock().unwrap_or_else(PoisonError::into_inner);
        match allowance.spend(Instant::now()) {
            None => return,
            Some(0) => {}
            Some(lost) => tell(format_args!("{lost} messages were dropped")),
        }
        tell(format_args!("{}: {}", record.target(), record.args()));
    }

    fn flush(&self) {}
}

/// So many lines in each period: a guest can bring about messages without end, by resetting a
/// device and breaking it again.
#[derive(Debug)]
struct Allowance {
    spent: u32,
    lost: u64,
    /// When the period began.
    start: Option<Instant>,
}

impl Allowance {
    /// Takes one line of it. `None` where nothing is left, else the number of lines that were lost
    /// since the last one.
    fn spend(&mut self, now: Instant) -> Option<u64> {
        let start = *self.start.get_or_insert(now);
        if now.saturating_duration_since(start) >= PERIOD {
            (self.spent, self.start) = (0, Some(now));
        }
        if self.spent == LINES {
            self.lost += 1;
            return None;
        }
        self.spent += 1;
        Some(std::mem::take(&mut self.lost))
    }
}

static ALLOWANCE: Mutex<Allowance> = Mutex::new(Allowance {
    spent: 0,
    lost: 0,
    start: None,
});
const LINES: u32 = 20;
const PERIOD: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_counted() {
        let start = Instant::now();
        let mut allowance = Allowance {
            spent: 0,
            lost: 0,
            start: None,
        };
        let printed = (0..1000).filter(|_| allowance.spend(start).is_some());
        assert_eq!(printed.count(), LINES as usize);
        assert_eq!(
            allowance.spend(start + PERIOD),
            Some(1000 - u64::from(LINES))
        );
        assert_eq!(allowance.spend(start + PERIOD), Some(0));
    }
}
