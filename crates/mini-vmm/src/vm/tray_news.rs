//! Trays that have moved, as the machine tells its monitors of them.
//!
//! Monitors move them as well, and wait for each move. So a tray is told of at once, until it has moved
//! more often in a second than anybody would: then its guest moves it over and over, and what it is in
//! the end is told when the second is over.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::news::{NewsTimer, PERIOD};
use crate::hotplug::TrayMove;

/// What monitors know of trays, by identifier.
pub(super) struct TrayNews {
    told: BTreeMap<String, Told>,
    /// The last move of each that has had its share.
    waiting: BTreeMap<String, TrayMove>,
    pub(super) timer: Arc<NewsTimer>,
}

/// What was told of a tray.
struct Told {
    open: bool,
    /// When its second began, and how often it has moved since.
    since: Instant,
    moves: u32,
}

impl TrayNews {
    /// Nothing was told yet.
    ///
    /// # Errors
    /// A host without timers to give.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            told: BTreeMap::new(),
            waiting: BTreeMap::new(),
            timer: NewsTimer::new()?,
        })
    }

    /// What of `moved` and of what has waited is to be told at `now`, and is then taken as told.
    pub(super) fn due(&mut self, moved: Vec<TrayMove>, now: Instant) -> Vec<TrayMove> {
        let waiting = std::mem::take(&mut self.waiting).into_values();
        let mut due = Vec::new();
        for (id, device, open) in waiting.chain(moved) {
            match self.told.get(&id) {
                // It has come back to what it was while it waited.
                Some(told) if told.open == open => drop(self.waiting.remove(&id)),
                Some(told) if told.is_tired(&self.timer, now) => {
                    self.waiting.insert(id.clone(), (id, device, open));
                }
                _ => {
                    let told = self.told.entry(id.clone());
                    told.or_insert_with(|| Told::new(now)).tell(open, now);
                    due.push((id, device, open));
                }
            }
        }
        due
    }
}

impl Told {
    fn new(now: Instant) -> Self {
        Self {
            open: false,
            since: now,
            moves: 0,
        }
    }

    /// Whether it has had its share of the second that has begun.
    fn is_tired(&self, timer: &NewsTimer, now: Instant) -> bool {
        self.moves >= MOST && !timer.is_due(Some(self.since), now)
    }

    fn tell(&mut self, open: bool, now: Instant) {
        if now.duration_since(self.since) >= PERIOD {
            (self.since, self.moves) = (now, 0);
        }
        self.open = open;
        self.moves += 1;
    }
}

/// Moves of a tray that are told of in a second.
const MOST: u32 = 10;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_tray_that_moves_over_and_over_is_heard_of_at_times() {
        let mut news = TrayNews::new().unwrap();
        let start = Instant::now();
        let mut told = |milliseconds, moves: &[bool]| {
            let moves = moves
                .iter()
                .map(|&open| ("cd0".to_owned(), "d0".to_owned(), open));
            let due = news.due(moves.collect(), start + Duration::from_millis(milliseconds));
            due.into_iter().map(|(_, _, open)| open).collect::<Vec<_>>()
        };
        const NOTHING: [bool; 0] = [];
        let moves = [true, false].repeat(20);
        assert_eq!(told(0, &moves), moves[..10], "as each comes");
        assert_eq!(told(500, &[true]), NOTHING);
        assert_eq!(told(600, &[false]), NOTHING, "as known");
        assert_eq!(told(700, &[true]), NOTHING);
        assert_eq!(told(1000, &[]), [true], "its last word");
        assert_eq!(told(1001, &[]), NOTHING);
        assert_eq!(told(1100, &[false, true]), [false, true]);
    }
}
