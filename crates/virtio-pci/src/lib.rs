#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod bus;
mod capability;
mod common;
mod doorbell;
mod error;
mod function;
mod identity;
mod interfaces;
mod interrupt;
mod layout;
mod legacy;
mod props;
mod register;
mod registers;
mod slot;
mod state;
mod transport;

pub use error::Error;
pub use props::{Addr, PciProps};
pub use slot::{PciParts, PciSlot, Place};
pub use state::PciState;
pub use transport::PciTransport;

pub use {virtio_bus, vm_pci};
