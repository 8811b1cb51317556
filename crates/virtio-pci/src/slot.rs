//! What a VMM brings to a device on PCI: the place and the seams to the host.

use std::sync::Arc;

use virtio_bus::{IoEventFds, Runner};
use virtio_device::{AddressSpace, DynDevice, Features};
use vm_pci::{IrqPin, MsiSink};

/// Where a function is plugged, which decides what it looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On the root bus, as a conventional function: 256 bytes of configuration space, and by
    /// default transitional.
    RootBus,
    /// Behind a root port, as a PCI Express endpoint: 4096 bytes of configuration space, power
    /// management, function level reset, and by default modern only.
    RootPort,
}

/// A place on a bus, with the wires that lead from it to the host.
pub struct PciSlot {
    /// Where the function is plugged.
    pub place: Place,
    /// Makes interrupt messages.
    pub msi: Arc<dyn MsiSink>,
    /// The wire of INTA#; a function without one has no interrupt but MSI-X.
    pub intx: Option<Arc<dyn IrqPin>>,
    /// Turns notifications into events; without it, or with `ioeventfd=off`, the transport decodes
    /// each of them.
    pub ioeventfds: Option<Arc<dyn IoEventFds>>,
    /// Has a reset wait, in the access that asks for it, until what is in flight is drained. Without
    /// it the driver polls the status register for the end, and whoever makes its accesses goes on.
    pub reset_waits: bool,
}

impl PciSlot {
    /// A place without a wire for INTA# and without ioeventfds, where drivers poll for the end of a
    /// reset; set the fields to change that.
    pub fn new(place: Place, msi: Arc<dyn MsiSink>) -> Self {
        Self {
            place,
            msi,
            intx: None,
            ioeventfds: None,
            reset_waits: false,
        }
    }
}

/// A device and what it needs, apart from its transport.
pub struct PciParts<AS: AddressSpace> {
    /// The device.
    pub device: Box<dyn DynDevice<AS>>,
    /// Where its workers run.
    pub runner: Arc<dyn Runner<AS>>,
    /// Guest memory as the device sees it.
    pub memory: AS,
    /// Device-independent features to offer; see [`VirtioProps`](virtio_bus::VirtioProps).
    pub features: Features,
}
