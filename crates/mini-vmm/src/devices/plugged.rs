//! Virtio devices that are plugged in, and what can be done to them from outside of the guest.

use std::sync::{Arc, Weak};
use std::time::Instant;

use virtio_balloon::BalloonHandle;
use virtio_ccw::CcwTransport;
use virtio_device::props::PropHelp;
use virtio_mmio::MmioTransport;
use virtio_pci::PciTransport;
use virtio_scsi::{Address, ScsiHandle};
use virtio_serial::SerialHandle;
use vm_pci::PciFunction;

use super::net::NetControl;
use super::tenant::Tenancy;
use crate::drive::Drive;
use crate::memory::SharedMemory;
use crate::pci::Location;
use crate::storage::Storage;

/// The path of the device behind the transport's at `path`.
pub(super) fn backend_path(path: &str) -> String {
    format!("{path}{VIRTIO_BACKEND}")
}

/// A virtio device in its place.
pub struct Plugged {
    /// Its identifier, where it has one.
    pub id: Option<String>,
    /// Its path among QEMU's objects.
    pub path: String,
    /// Name of its type.
    pub driver: &'static str,
    /// Its properties, with the values that it was made with.
    pub properties: Vec<PropHelp>,
    /// Where it is.
    pub seat: Seat,
    /// What is special about it.
    pub control: Control,
    /// Its removal was asked for, which is the guest's to complete, and is not to be asked for again
    /// before this time.
    pub leaving: Option<Instant>,
}

/// The transport that a device sits on.
pub enum Seat {
    /// A slot of a PCI bus.
    Pci(Location, Arc<PciTransport<SharedMemory>>),
    /// A virtio-mmio slot.
    Mmio(Arc<MmioTransport<SharedMemory>>),
    /// A subchannel.
    Ccw(Arc<CcwTransport<SharedMemory>>),
}

/// What can be done to a device of some type.
#[derive(Default)]
pub enum Control {
    /// Nothing but what can be done to all.
    #[default]
    None,
    /// A disk, on a drive.
    Blk(Drive),
    /// A memory balloon.
    Balloon(BalloonHandle),
    /// A network device.
    Net(Box<NetControl>),
    /// Ports, and the means to change them.
    Serial(SerialHandle, Vec<PluggedPort>),
    /// Units on a SCSI bus, and the means to change them.
    Scsi(ScsiHandle<Storage>, Vec<PluggedUnit>),
}

/// A port of a virtio-serial device.
pub struct PluggedPort {
    /// Its identifier, where it has one.
    pub id: Option<String>,
    /// Its path among QEMU's objects.
    pub path: String,
    /// Its number.
    pub number: u16,
    /// The character device at its host end, if it has one.
    pub chardev: Option<String>,
    /// Its removal was asked for.
    pub leaving: bool,
    /// Dead when its host end is free.
    pub tenancy: Weak<Tenancy>,
}

/// A logical unit of a virtio-scsi device.
pub struct PluggedUnit {
    /// Its identifier, where it has one.
    pub id: Option<String>,
    /// Its path among QEMU's objects.
    pub path: String,
    /// Its place on the bus.
    pub address: Address,
    /// Its removal was asked for.
    pub leaving: bool,
    /// What is in it.
    pub drive: Option<Drive>,
    /// The drive that it was made with, which QEMU calls its host end by for good; empty for none.
    pub host_end: String,
    /// Dead when the unit is.
    pub tenancy: Weak<Tenancy>,
}

impl Plugged {
    /// The path of the device behind the transport's.
    pub fn backend_path(&self) -> String {
        backend_path(&self.path)
    }

    /// Whether `path` is that of its transport or of the device behind it, which are one to monitors.
    pub fn is_at(&self, path: &str) -> bool {
        let behind = path.strip_suffix(VIRTIO_BACKEND);
        self.path == behind.unwrap_or(path)
    }

    /// Where it is, on PCI.
    pub fn place(&self) -> Option<Location> {
        match &self.seat {
            Seat::Pci(place, _) => Some(*place),
            Seat::Mmio(_) | Seat::Ccw(_) => None,
        }
    }

    /// Stops its work until [`Plugged::resume`], when what is in flight is done.
    pub fn pause(&self) {
        match &self.seat {
            Seat::Pci(_, transport) => transport.pause(),
            Seat::Mmio(transport) => transport.pause(),
            Seat::Ccw(transport) => transport.pause(),
        }
    }

    /// Goes on after [`Plugged::pause`].
    pub fn resume(&self) {
        match &self.seat {
            Seat::Pci(_, transport) => transport.resume(),
            Seat::Mmio(transport) => transport.resume(),
            Seat::Ccw(transport) => transport.resume(),
        }
    }

    /// Puts it back to its state at power-on, when what is in flight is done.
    pub fn reset(&self) {
        match &self.seat {
            Seat::Pci(_, transport) => PciFunction::reset(&**transport),
            Seat::Mmio(transport) => transport.reset(),
            Seat::Ccw(transport) => transport.reset(),
        }
    }
}

const VIRTIO_BACKEND: &str = "/virtio-backend";
