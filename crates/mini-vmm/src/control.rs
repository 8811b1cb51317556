//! What the main thread listens to besides devices: wishes, and signals that end the VMM.

use std::io;
use std::os::fd::AsRawFd;

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
        })
    }
}

impl EventSubscriber for Control {
    fn init(&self, ops: &mut EventOps) {
        let _ = ops.add(Events::new(self.wishes.event(), EventSet::IN));
        let _ = ops.add(Events::new(&self.signals, EventSet::IN));
    }

    fn process(&self, events: Events, _: &mut EventOps) {
        if events.fd() == self.signals.as_raw_fd() {
            self.wishes.make(Wish::PowerOff);
        }
    }
}
