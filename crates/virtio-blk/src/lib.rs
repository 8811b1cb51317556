//! The virtio block device (section 5.2 of the VIRTIO 1.4 specification).
//!
//! [`Blk`] is the device, [`Backend`] where its sectors are: a [`RawImage`] is a raw file or a
//! block device of the host, [`NullDisk`] a disk of zeroes for measurements. [`BlkProps`] are
//! QEMU's properties.

#![forbid(unsafe_code)]

mod command;
mod config;
mod device;
mod error;
mod layout;
mod limits;
mod outcome;
mod props;
mod ranges;
mod request;
mod requests;
mod resize;
mod shared;
mod transfer;
mod worker;
mod zoned;

pub use device::Blk;
pub use error::BlkError;
pub use props::BlkProps;
pub use resize::Resizer;
pub use worker::BlkWorker;

pub use guest_io::block::{
    Backend, Burst, Channel, ErrorPolicy, Facts, Failure, Limit, NullChannel, NullDisk, OnError,
    Rate, Rates, RawChannel, RawImage, ThrottleGroup, ThrottleMember, Throttled, Verdict,
    ZoneLayout, ZoneLimits, Zones,
};
pub use virtio_device::props::Size;

pub use {guest_io, virtio_device};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
