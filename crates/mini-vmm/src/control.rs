//! What the main thread listens to besides devices: wishes, signals that end the VMM, and the one
//! that tells of the window.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};

use event_manager::{EventOps, EventSet, EventSubscriber, Events};

use crate::exit::{Wish, Wishes};
use crate::signals::{EndSignals, WindowSignals};

/// What the main thread listens to besides devices.
#[derive(Debug)]
pub struct Control {
    /// Wishes of anybody.
    pub wishes: Wishes,
    /// Signals, which are a wish to end.
    pub signals: EndSignals,
    told_to_end: AtomicBool,
    window: WindowSignals,
    /// Whether nobody has looked since.
    window_changed: AtomicBool,
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
            window: WindowSignals::take()?,
            window_changed: AtomicBool::new(true),
        })
    }

    /// Whether a signal has asked for the end.
    pub fn was_told_to_end(&self) -> bool {
        self.told_to_end.load(Ordering::Relaxed)
    }

    /// Whether the terminal's window may have another size than the last time this was asked.
    pub fn take_window_change(&self) -> bool {
        self.window_changed.swap(false, Ordering::Relaxed)
    }
}

impl EventSubscriber for Control {
    fn init(&self, ops: &mut EventOps) {
        let _ = ops.add(Events::new(self.wishes.event(), EventSet::IN));
        let _ = ops.add(Events::new(&self.signals, EventSet::IN));
        let _ = ops.add(Events::new(&self.window, EventSet::IN));
    }

    fn process(&self, events: Events, _: &mut EventOps) {
        if events.fd() == self.signals.as_raw_fd() {
            self.told_to_end.store(true, Ordering::Relaxed);
            self.wishes.make(Wish::PowerOff);
        }
        if events.fd() == self.window.as_raw_fd() {
            self.window.heard();
            self.window_changed.store(true, Ordering::Relaxed);
        }
    }
}
