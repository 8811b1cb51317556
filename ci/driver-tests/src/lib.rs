//! The guest drivers of crate `virtio-drivers`, which nobody of this project wrote, against our
//! devices and transports: driver and device in one process, guest memory and registers between
//! them as between a guest and a VMM.
//!
//! The drivers run unmodified. Their own transports reach registers through pointers, which traps
//! only in a guest; so [`MmioDriver`] and [`PciDriver`] implement their `Transport` trait by the same
//! accesses in the same order, as calls of [`DeviceMmio`](vm_device::DeviceMmio). Of channel I/O they
//! know nothing; [`CcwDriver`] does what Linux does. [`GuestHal`] is their
//! platform: memory that the device sees, and bounce buffers for what it does not.

mod board;
mod ccw;
mod ccw_board;
mod guest;
mod mmio;
mod pci;
mod pci_board;
mod window;

pub use board::{Board, LegacyMmio, Mmio};
pub use ccw::CcwDriver;
pub use ccw_board::{Ccw, ClassicCcw};
pub use guest::{Guest, GuestHal, Memory};
pub use mmio::MmioDriver;
pub use pci::{BarSpace, EcamAccess, PciDriver};
pub use pci_board::{ModernPci, Pci, PciExpress};
pub use window::Window;

pub use {virtio_drivers, vm_device};
