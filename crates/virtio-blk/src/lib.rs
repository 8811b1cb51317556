//! The virtio block device (section 5.2 of the VIRTIO 1.4 specification).
//!
//! [`Blk`] is the device, [`Backend`] where its sectors are: a [`RawImage`] is a raw file or a
//! block device of the host, [`NullDisk`] a disk of zeroes for measurements. [`BlkProps`] are
//! QEMU's properties.

#![forbid(unsafe_code)]

mod backend;
mod command;
mod config;
mod device;
mod error;
mod layout;
mod limits;
mod null;
mod props;
mod raw;
mod request;
mod resize;
mod shared;
mod size;
mod worker;

pub use backend::{Backend, Channel, Facts};
pub use device::Blk;
pub use error::BlkError;
pub use null::{NullChannel, NullDisk};
pub use props::BlkProps;
pub use raw::{RawChannel, RawImage};
pub use resize::Resizer;
pub use size::Size;
pub use worker::BlkWorker;

pub use {guest_io, virtio_device};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
