//! One MSI-X vector: its route, and mask and pending bit in one atomic.
//!
//! Both bits share a word so that a trigger and an unmask cannot miss each other: either the trigger
//! finds the mask gone and fires, or the unmask finds the pending bit and fires. The table's lock
//! serialises everything here but `trigger` and `pending`.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use vmm_sys_util::eventfd::EventFd;

use crate::lock;
use crate::msix::{MsiMessage, MsiSink, MsiVector};

pub(crate) struct Vector {
    state: AtomicU8,
    route: OnceLock<Arc<dyn MsiVector>>,
    programmed: Mutex<Option<MsiMessage>>,
    handed_out: AtomicBool,
}

impl Default for Vector {
    fn default() -> Self {
        Self {
            state: AtomicU8::new(MASKED),
            route: OnceLock::new(),
            programmed: Mutex::new(None),
            handed_out: AtomicBool::new(false),
        }
    }
}

impl Vector {
    /// Fires, or becomes pending while masked.
    pub(crate) fn trigger(&self) -> io::Result<()> {
        let pend = |state| (state & MASKED != 0).then_some(state | PENDING);
        match self
            .state
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, pend)
        {
            Ok(_) => Ok(()),
            Err(_) => self.fire(),
        }
    }

    pub(crate) fn pending(&self) -> bool {
        self.state.load(Ordering::Acquire) & PENDING != 0
    }

    pub(crate) fn mask(&self) -> io::Result<()> {
        self.state.fetch_or(MASKED, Ordering::AcqRel);
        if self.handed_out.load(Ordering::Relaxed) {
            self.program(None)
        } else {
            Ok(())
        }
    }

    /// Programs the route where the message is a new one, then delivers what is pending.
    pub(crate) fn unmask(&self, message: MsiMessage, sink: &dyn MsiSink) -> io::Result<()> {
        if let Err(error) = self
            .connect(sink)
            .and_then(|()| self.program(Some(message)))
        {
            self.state.fetch_or(MASKED, Ordering::AcqRel);
            return Err(error);
        }
        match self.state.swap(0, Ordering::AcqRel) & PENDING {
            0 => Ok(()),
            _ => self.fire(),
        }
    }

    /// Masked, not pending, route down; the route itself is kept for the next driver.
    pub(crate) fn reset(&self) -> io::Result<()> {
        let Self {
            state,
            route: _,
            programmed: _,
            handed_out: _,
        } = self;
        state.store(MASKED, Ordering::Release);
        self.program(None)
    }

    /// Masked, with the pending bit of a snapshot.
    pub(crate) fn restore(&self, pending: bool) {
        let pending = if pending { PENDING } else { 0 };
        self.state.store(MASKED | pending, Ordering::Release);
    }

    pub(crate) fn hand_out(&self) -> Option<&EventFd> {
        let event = self.route.get()?.irqfd()?;
        self.handed_out.store(true, Ordering::Relaxed);
        Some(event)
    }

    fn connect(&self, sink: &dyn MsiSink) -> io::Result<()> {
        if self.route.get().is_none() {
            let route = sink.vector()?;
            self.route.get_or_init(|| route);
        }
        Ok(())
    }

    fn program(&self, message: Option<MsiMessage>) -> io::Result<()> {
        let mut programmed = lock(&self.programmed);
        if let Some(route) = self.route.get()
            && *programmed != message
        {
            // Forgotten first: after a failure nothing is known, so the next unmask tries again.
            *programmed = None;
            route.program(message)?;
            *programmed = message;
        }
        Ok(())
    }

    fn fire(&self) -> io::Result<()> {
        self.route.get().map_or(Ok(()), |route| route.fire())
    }
}

const MASKED: u8 = 1;
const PENDING: u8 = 2;
