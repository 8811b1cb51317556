//! The VMM's hold on a balloon that a transport owns.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::Report;
use crate::layout::{HINT_COMMAND, NUM_PAGES};
use crate::shared::Shared;

/// The VMM's hold on a [`Balloon`](crate::Balloon). Clones hold the same one.
#[derive(Clone)]
pub struct BalloonHandle(pub(crate) Arc<Shared>);

impl BalloonHandle {
    /// Asks the guest to give up this many pages of [`PAGE`](crate::PAGE) bytes. It gets there when
    /// and as far as it can.
    pub fn set_target(&self, pages: u32) {
        self.0.tell(NUM_PAGES, pages);
    }

    /// Pages that the guest was asked to give up.
    pub fn target(&self) -> u32 {
        NUM_PAGES.load(&self.0.config)
    }

    /// Pages that the guest says it has given up: any number.
    pub fn actual(&self) -> u32 {
        self.0.actual()
    }

    /// Has `listener` called whenever [`actual`](Self::actual) has changed, in place of the one
    /// before. It is called by the thread that makes the driver's accesses, and must not block.
    pub fn on_change(&self, listener: impl Fn() + Send + Sync + 'static) {
        self.0.listen(Box::new(listener));
    }

    /// The last statistics that the guest has sent.
    pub fn report(&self) -> Report {
        self.0.report().clone()
    }

    /// Seconds between two times that the guest is asked for statistics; 0 for never.
    pub fn interval(&self) -> u32 {
        self.0.poll.interval()
    }

    /// Sets [`interval`](Self::interval).
    ///
    /// # Errors
    /// A host that refuses.
    pub fn set_interval(&self, seconds: u32) -> io::Result<()> {
        self.0.poll.set_interval(seconds)
    }

    /// Asks the guest which pages it has no use for, and has `sink` called with the guest address
    /// and the bytes of each range that it names, until [`end_hints`](Self::end_hints). Their
    /// contents need not be copied anywhere unless the guest writes to them again; they must not be
    /// changed, for it may have done so already. What an earlier request was told is void.
    ///
    /// `sink` is called by the worker and must not block.
    pub fn request_hints(&self, sink: impl FnMut(u64, u64) + Send + 'static) {
        let id = self.0.hints().request(Box::new(sink));
        self.0.tell(HINT_COMMAND, id);
    }

    /// Nobody needs hints any more: the guest has its pages back.
    pub fn end_hints(&self) {
        let done = self.0.hints().end();
        self.0.tell(HINT_COMMAND, done);
    }

    /// Pages that the guest gave up and that it does not have, since the device was made.
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }
}
