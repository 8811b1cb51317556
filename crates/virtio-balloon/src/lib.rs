//! The virtio memory balloon device (section 5.5 of the VIRTIO 1.4 specification).
//!
//! [`Balloon`] is the device, [`BalloonHandle`] the VMM's hold on it: the size that the balloon is to
//! have, the guest's statistics, and requests for free page hints. [`Reclaim`] is what becomes of
//! pages that the guest gives up; [`HostMemory`] gives them back to the host kernel.
//! [`BalloonProps`] are QEMU's properties.

#![forbid(unsafe_code)]

mod device;
mod handle;
mod hints;
mod layout;
mod pages;
mod poll;
mod props;
mod reclaim;
mod role;
mod shared;
mod stats;
mod worker;

pub use device::Balloon;
pub use handle::BalloonHandle;
pub use props::BalloonProps;
pub use reclaim::{HostMemory, Reclaim};
pub use stats::{Report, Stat, Stats};
pub use worker::BalloonWorker;

pub use virtio_device;

/// Bytes of a page as the balloon counts them (section 5.5.6), whatever guest and host have.
pub const PAGE: u64 = 4096;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
