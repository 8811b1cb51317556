//! The virtio 9P transport (section 5.23 of the VIRTIO 1.4 specification): files of the host for a
//! guest.
//!
//! [`NineP`] is the device. What it shares is a [`p9_server::FileSystem`]: a directory of the host
//! ([`p9_server::Local`]), the tree of QEMU's tests ([`p9_server::Synth`]), or another. A request
//! that would wait is served elsewhere, by an [`Executor`], if the VMM has one. [`NinePProps`] are
//! QEMU's properties.

#![forbid(unsafe_code)]

mod device;
mod executor;
mod flights;
mod message;
mod payload;
mod props;
mod worker;

pub use device::NineP;
pub use executor::{Executor, Task};
pub use props::NinePProps;
pub use worker::NinePWorker;

pub use {p9_server, virtio_device};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
