//! The virtio entropy device (section 5.4 of the VIRTIO 1.4 specification).
//!
//! [`Rng`] is the device, [`EntropySource`] what it gives the guest: [`HostRandom`] asks the host
//! kernel, [`FileSource`] reads `/dev/hwrng`, a FIFO or the like. [`RngProps`] are QEMU's
//! properties, of which `max-bytes` and `period` limit how much entropy a guest can draw.

#![forbid(unsafe_code)]

mod device;
mod pool;
mod props;
mod quota;
mod source;
mod worker;

pub use device::Rng;
pub use props::RngProps;
pub use source::{EntropySource, FileSource, HostRandom};
pub use worker::RngWorker;

pub use virtio_device;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
