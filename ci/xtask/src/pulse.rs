//! Signs of life of an emulated machine: each of its processors says now and then that it runs. One that
//! stopped for good is noticed by that, long before what waits for it gives up.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The processors that have said that they run, and when each last did.
#[derive(Debug)]
pub struct Pulses {
    limit: Duration,
    last: BTreeMap<String, Instant>,
}

impl Pulses {
    /// Of processors that say so far more often than every `limit`.
    pub fn new(limit: Duration) -> Self {
        Self {
            limit,
            last: BTreeMap::new(),
        }
    }

    /// Whether `line` is a sign of life, which is noted. Other words may stand before it.
    pub fn hear(&mut self, line: &str) -> bool {
        let Some((_, processor)) = line.split_once(MARK) else {
            return false;
        };
        self.last.insert(processor.to_owned(), Instant::now());
        true
    }

    /// When the processor that was not heard of for longest will have been silent for too long; `None`
    /// while nobody is expected to speak.
    pub fn due(&self) -> Option<Instant> {
        self.last.values().min().map(|last| *last + self.limit)
    }

    /// The processor that has been silent for too long.
    pub fn lost(&self) -> Option<&str> {
        let mut all = self.last.iter();
        let (processor, _) = all.find(|(_, last)| last.elapsed() >= self.limit)?;
        Some(processor)
    }

    /// Expects nobody to speak any more, until they do.
    pub fn forget(&mut self) {
        self.last.clear();
    }
}

/// What a sign of life begins with; the number of the processor follows.
const MARK: &str = "@@ alive ";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Pulses;

    #[test]
    fn a_pulse_is_told_from_other_lines() {
        let mut pulses = Pulses::new(Duration::from_secs(3600));
        assert!(!pulses.hear("@@ pass rng") && pulses.due().is_none());
        assert!(pulses.hear("[ 1.0] noise @@ alive 1") && pulses.due().is_some());
        assert_eq!(pulses.lost(), None);
        pulses.forget();
        assert_eq!(pulses.due(), None);
    }

    #[test]
    fn whoever_was_heard_of_once_is_missed() {
        let mut pulses = Pulses::new(Duration::ZERO);
        assert_eq!(pulses.lost(), None);
        pulses.hear("@@ alive 1");
        assert_eq!(pulses.lost(), Some("1"));
    }
}
