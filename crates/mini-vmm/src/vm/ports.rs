//! Serial ports that their driver opens and closes, as the machine tells its monitors of them.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;

use super::Machine;
use super::news::NewsTimer;
use crate::qmp::Event;

/// What monitors know of ports, by identifier.
pub(super) struct PortNews {
    /// What they were told last, and when. Of a port that is not here they know it as closed.
    told: BTreeMap<String, (bool, Instant)>,
    /// What came too soon after that.
    waiting: BTreeMap<String, bool>,
    pub(super) timer: Arc<NewsTimer>,
}

impl Machine {
    /// Tells monitors of ports that are opened or closed now, at once or later.
    pub(super) fn tell_of_ports(&mut self) {
        let moved = self.backends.departures().take_ports();
        let news = &mut self.port_news;
        news.waiting.extend(moved);
        let now = Instant::now();
        for (id, open) in news.due(now) {
            let data = json!({"id": id, "open": open});
            self.tell(&Event::new("VSERPORT_CHANGE", data));
        }
    }
}

impl PortNews {
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

    /// The port is gone; another one may come with its identifier.
    pub(super) fn forget(&mut self, id: &str) {
        self.told.remove(id);
        self.waiting.remove(id);
    }

    /// What is to be told at `now`, and is then taken as told.
    fn due(&mut self, now: Instant) -> BTreeMap<String, bool> {
        let Self {
            told,
            waiting,
            timer,
        } = self;
        waiting.retain(|id, open| *open != told.get(id).is_some_and(|(known, _)| *known));
        let due: BTreeMap<_, _>;
        (due, *waiting) = std::mem::take(waiting)
            .into_iter()
            .partition(|(id, _)| timer.is_due(told.get(id).map(|last| last.1), now));
        told.extend(due.iter().map(|(id, open)| (id.clone(), (*open, now))));
        due
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_port_that_is_opened_all_the_time_is_heard_of_once_a_second() {
        let mut news = PortNews::new().unwrap();
        let start = Instant::now();
        let mut hear = |milliseconds, open| {
            news.waiting.insert("p0".to_owned(), open);
            let due = news.due(start + Duration::from_millis(milliseconds));
            due.get("p0").copied()
        };
        assert_eq!(hear(0, false), None, "as known");
        assert_eq!(hear(0, true), Some(true));
        assert_eq!(hear(10, false), None, "too soon");
        assert_eq!(hear(20, true), None);
        assert_eq!(hear(1100, true), None, "as known");
        assert_eq!(hear(1100, false), Some(false));
        assert_eq!(hear(2000, true), None, "too soon");
        news.forget("p0");
        assert!(news.due(start + Duration::from_secs(9)).is_empty());
    }
}
