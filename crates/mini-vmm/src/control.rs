//! What the main thread listens to besides devices: wishes, and signals that end the VMM.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};

use event_manager::{EventOps, EventSet, EventSubscriber, Events};

use crate::exit::{Wish, Wishes};
use crate::signals::EndSignals;

/// What the main thread listens to besides devices.
#[derive(Debug)]
pub struct Control {
    /// Wishes of anybody.
    pub wishes: Wishes,
    /// Signals, which are a wish to end.
    pub signals: EndSignals,
    told_to_end: AtomicBool,
}

impl Control {
    /// Takes the signals, as [`EndSignals::take`].
    ///
    /// # Errors
    /// As there.
    pub fn new(wishes: Wishes) -> io::Result<Self> {
        Ok(Self {
            wishes,
            signals: EndSignals::take()?,
            told_to_end: AtomicBool::new(false),
        })
    }

    /// Whether a signal has asked for the end.
    pub fn was_told_to_end(&self) -> bool {
        self.told_to_end.load(Ordering::Relaxed)
    }
}

impl EventSubscriber for Control {
    fn init(&self, ops: &mut EventOps) {
        let _ = ops.add(Events::new(self.wishes.event(), EventSet::IN));
        let _ = ops.add(Events::new(&self.signals, EventSet::IN));
    }

    fn process(&self, events: Events, _: &mut EventOps) {
        if events.fd() == self.signals.as_raw_fd() {
            self.told_to_end.store(true, Ordering::Relaxed);
            self.wishes.make(Wish::PowerOff);
        }
    }
}
