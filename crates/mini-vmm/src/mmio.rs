//! Virtio-mmio slots of the machine, each with an interrupt of its own.

use std::io;
use std::sync::Arc;

use virtio_mmio::{MmioSlot, MmioTransport};
use vm_device::bus::{MmioAddress, MmioRange};
use vm_device::device_manager::{IoManager, MmioManager};

use crate::layout::{self, Range};
use crate::memory::SharedMemory;
use crate::wires::Wires;

/// The slots, filled from the first on.
pub struct Mmio {
    wires: Wires,
    transports: Vec<Arc<MmioTransport<SharedMemory>>>,
}

impl Mmio {
    /// No slot is taken yet.
    pub fn new(wires: Wires) -> Self {
        Self {
            wires,
            transports: Vec::new(),
        }
    }

    /// The next free slot: its addresses and interrupt, and its wires.
    ///
    /// # Errors
    /// Where there is none left, or the host refuses its interrupt.
    pub fn slot(&self) -> io::Result<((Range, u32), MmioSlot)> {
        let index = self.transports.len();
        let gsi = layout::VIRTIO_MMIO_GSIS.get(index).copied();
        let most = layout::VIRTIO_MMIO_GSIS.len();
        let gsi = gsi.ok_or_else(|| io::Error::other(format!("all {most} slots are taken")))?;
        let range = Range {
            base: layout::VIRTIO_MMIO + index as u64 * layout::VIRTIO_MMIO_SLOT,
            size: MmioSlot::SIZE,
        };
        let slot = MmioSlot::new(range.base, self.wires.lines.edge(gsi)?);
        let slot = match &self.wires.doorbells {
            Some(doorbells) => slot.ioeventfds(Arc::clone(doorbells) as _),
            None => slot,
        };
        Ok(((range, gsi), slot))
    }

    /// Plugs `transport` into the slot that was asked for last.
    ///
    /// # Errors
    /// Addresses that something else has taken.
    pub fn attach(
        &mut self,
        bus: &mut IoManager,
        (range, _): (Range, u32),
        transport: Arc<MmioTransport<SharedMemory>>,
    ) -> io::Result<()> {
        let window = MmioRange::new(MmioAddress(range.base), range.size);
        window
            .and_then(|window| bus.register_mmio(window, Arc::clone(&transport) as _))
            .map_err(io::Error::other)?;
        self.transports.push(transport);
        Ok(())
    }

    /// Resets all devices, when what they had in flight is done.
    pub fn reset(&self) {
        self.transports
            .iter()
            .for_each(|transport| transport.reset());
    }
}
