//! How much of KVM a machine holds, counted where KVM gives it and takes it back: for those who look
//! for what devices leave behind. The kernel itself tells nobody.

use std::sync::atomic::{AtomicUsize, Ordering};

/// What one virtual machine holds.
#[derive(Debug, Default)]
pub struct Tally {
    /// Ranges of guest memory.
    pub memory_slots: Count,
    /// Doorbells that KVM answers.
    pub ioeventfds: Count,
    /// Events that KVM turns into interrupts, of lines and of routed messages.
    pub irqfds: Count,
    /// Interrupt messages in its routing table: of the vectors whose irqfds somebody was handed, which
    /// devices of this process never are. Their messages are fired without a route (see [`crate::msi`]).
    pub msi_routes: Count,
}

/// How many there are of one kind.
#[derive(Debug, Default)]
pub struct Count(AtomicUsize);

impl Count {
    /// The number.
    pub fn number(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// One more.
    pub(crate) fn more(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// One less.
    pub(crate) fn less(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// So many from now on.
    pub(crate) fn set(&self, number: usize) {
        self.0.store(number, Ordering::Relaxed);
    }
}
