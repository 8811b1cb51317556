//! Requests of disks that the host has failed, on their way from the threads of workers to
//! the main thread.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use event_manager::{EventOps, EventSet, EventSubscriber, Events};
use guest_io::block::{Direction, Failure, Verdict};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// A request that failed, as monitors hear of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// What it was.
    pub direction: Direction,
    /// What became of it.
    pub verdict: Verdict,
    /// Whether the host's storage is full.
    pub no_space: bool,
    /// What the host says.
    pub reason: String,
}

/// Incidents that were not taken yet: one of each verdict for each disk, and in a second one that
/// has not to be seen to. A guest may cause as many as it likes.
#[derive(Debug)]
pub struct Incidents {
    book: Mutex<Book>,
    event: EventFd,
}

#[derive(Debug, Default)]
struct Book {
    open: Vec<(String, Incident)>,
    /// When the last one of a disk was written down.
    last: BTreeMap<String, Instant>,
}

impl Incidents {
    /// None yet.
    ///
    /// # Errors
    /// Where the host has no event to give.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            book: Mutex::default(),
            event: EventFd::new(EFD_NONBLOCK)?,
        })
    }

    /// What writes down the failures of the disk at `path`, one of QEMU's objects.
    pub fn witness(self: &Arc<Self>, path: &str) -> impl Fn(&Failure<'_>) + Send + Sync + use<> {
        let (incidents, path) = (Arc::clone(self), path.to_owned());
        move |failure| incidents.write_down(&path, failure)
    }

    /// Takes all there are, with the paths of the disks that they are of.
    pub fn take(&self) -> Vec<(String, Incident)> {
        std::mem::take(&mut self.book().open)
    }

    fn write_down(&self, path: &str, failure: &Failure<'_>) {
        let mut book = self.book();
        let kept = failure.verdict == Verdict::Keep;
        let last = book.last.get(path);
        let soon = last.is_some_and(|last| last.elapsed() < PERIOD);
        let mut open = book.open.iter();
        let known = open.any(|(of, open)| of == path && open.verdict == failure.verdict);
        if known || (soon && !kept) {
            return;
        }
        let incident = Incident {
            direction: failure.direction,
            verdict: failure.verdict,
            no_space: failure.is_no_space(),
            reason: reason(failure.error),
        };
        book.open.push((path.to_owned(), incident));
        book.last.insert(path.to_owned(), Instant::now());
        drop(book);
        let _ = self.event.write(1);
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventSubscriber for Incidents {
    fn init(&self, ops: &mut EventOps) {
        let _ = ops.add(Events::new(&self.event, EventSet::IN));
    }

    /// Wakes the main thread, which then takes them.
    fn process(&self, _: Events, _: &mut EventOps) {
        let _ = self.event.read();
    }
}

/// Without the number that Rust puts behind it.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}

const PERIOD: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_that_fails_a_lot_is_heard_of_seldom() {
        let incidents = Arc::new(Incidents::new().unwrap());
        let error = io::Error::from_raw_os_error(libc::ENOSPC);
        let witness = incidents.witness("/machine/peripheral/b0");
        let see = |verdict| {
            witness(&Failure {
                direction: Direction::Write,
                verdict,
                error: &error,
            });
        };
        (0..100).for_each(|_| see(Verdict::Report));
        let told = incidents.take();
        let [(path, incident)] = &told[..] else {
            panic!("{told:?}");
        };
        assert_eq!(
            (path.rsplit('/').next(), incident.no_space),
            (Some("b0"), true)
        );
        assert_eq!(incident.reason, "No space left on device");
        see(Verdict::Report);
        assert!(incidents.take().is_empty());
        // What has to be seen to does not wait.
        (0..100).for_each(|_| see(Verdict::Keep));
        assert_eq!(incidents.take().len(), 1);
        see(Verdict::Keep);
        assert_eq!(incidents.take().len(), 1);
    }
}
