//! What the PCI transport offers to the core.

use std::io;
use std::sync::Arc;

use virtio_bus::{Kicks, VirtioBus};
use virtio_device::{ByteOrder, Features, Interrupt};

use crate::doorbell::Doorbells;
use crate::interfaces::Interfaces;
use crate::interrupt::PciInterrupt;

/// The part of a transport that it shares with its core.
pub(crate) struct PciBus {
    pub(crate) interfaces: Interfaces,
    pub(crate) interrupt: Arc<PciInterrupt>,
    pub(crate) doorbells: Doorbells,
    /// See [`PciSlot::reset_waits`](crate::PciSlot::reset_waits).
    pub(crate) reset_waits: bool,
}

impl VirtioBus for PciBus {
    fn features(&self, offer: Features) -> Features {
        self.interfaces.features(offer)
    }

    /// Guests are taken to be little-endian.
    fn legacy(&self) -> Option<ByteOrder> {
        self.interfaces.has_legacy().then_some(ByteOrder::Little)
    }

    fn interrupt(&self) -> Arc<dyn Interrupt> {
        self.interrupt.clone()
    }

    fn assign_kicks(&self, kicks: &Kicks) -> io::Result<()> {
        self.doorbells.set_kicks(kicks.fds().to_vec())
    }

    fn release_kicks(&self, _: &Kicks) {
        // Nothing is assigned here, so nothing can fail.
        let _ = self.doorbells.set_kicks(Vec::new());
    }
}
