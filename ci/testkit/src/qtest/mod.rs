//! A VMM without processors, and a driver in their place: QEMU's qtest protocol and QMP, typed.
//!
//! [`Vmm`] is a process that runs `-accel qtest`, with the accesses that a processor makes. [`Qmp`]
//! is its monitor. [`PciDevice`] and [`VirtioPci`] are a driver's way to a device on its PCI bus.

mod pci;
mod qmp;
mod virtio;
mod vmm;

pub use pci::{PciBus, PciDevice};
pub use qmp::Qmp;
pub use virtio::{Part, VirtioPci, VirtioQueue};
pub use vmm::Vmm;
