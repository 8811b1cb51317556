//! What machines differ in.

use std::ops::RangeInclusive;

use vm_pci::{HostBridge, Identity};

use crate::layout;
use crate::options::MachineType;

/// The PCI of a kind of machine.
pub(super) struct Chipset {
    /// QEMU's name of the root bus.
    pub(super) bus: &'static str,
    pub(super) bridge: Identity,
    pub(super) ports: RangeInclusive<u16>,
    /// There is a memory-mapped configuration space, and there may be root ports.
    pub(super) express: bool,
}

impl Chipset {
    /// That of `machine`, where it has PCI.
    pub(super) fn of(machine: MachineType) -> Option<&'static Self> {
        match machine {
            MachineType::None => None,
            MachineType::Pc => Some(&PC),
            MachineType::Q35 => Some(&Q35),
        }
    }
}

const PC: Chipset = Chipset {
    bus: "pci.0",
    bridge: HostBridge::I440FX,
    ports: layout::PCI_HIGH_PORTS,
    express: false,
};
const Q35: Chipset = Chipset {
    bus: "pcie.0",
    bridge: HostBridge::Q35,
    ports: layout::PCI_PORTS,
    express: true,
};
