//! The virtio MMIO transport (section 4.2): a window of registers, an interrupt line, nothing else.
//!
//! [`MmioTransport`] shows any [`VirtioDevice`](virtio_device::VirtioDevice) behind such a window,
//! as the current interface (version 2) or the legacy one (version 1). It is a
//! [`DeviceMmio`](vm_device::DeviceMmio), so rust-vmm's `IoManager`, or any other dispatcher of
//! MMIO exits, can own it. [`EmptySlot`] is a window without a device.
//!
//! The VMM supplies two seams: an [`IrqLine`], and optionally
//! [`IoEventFds`](virtio_bus::IoEventFds) for notifications that
//! do not leave the kernel. What is left to the VMM: where windows lie, and telling the guest
//! about them (device tree, ACPI `LNRO0005`, or `virtio_mmio.device=` on the kernel command line).
//!
//! Notifications, the interrupt registers and the configuration space are served without a lock;
//! all other registers share one.
//!
//! Section numbers are those of the VIRTIO 1.4 specification.

#![forbid(unsafe_code)]

mod bus;
mod interrupt;
mod legacy;
mod props;
mod register;
mod selected;
mod slot;
mod state;
mod transport;

pub use interrupt::IrqLine;
pub use props::MmioProps;
pub use slot::{EmptySlot, MmioSlot};
pub use state::MmioState;
pub use transport::{MmioParts, MmioTransport};

pub use {virtio_bus, vm_device};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
