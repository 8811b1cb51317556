//! The virtio network device (section 5.1 of the VIRTIO 1.4 specification).
//!
//! [`Net`] is the device. Its host end has two sides: a [`Line`] for each pair of queues moves
//! frames, and a [`Backend`] says and sets what all lines have in common. [`FrameFd`] is a line on a
//! descriptor that gives and takes whole frames, such as a tap interface; [`Framed`] one on a byte
//! stream. [`NetProps`] are QEMU's properties. A [`NetHandle`] changes the device while it runs.

#![forbid(unsafe_code)]

mod announce;
mod aside;
mod backend;
mod coalesce;
mod config_space;
mod control;
mod device;
mod error;
mod expected;
mod features;
mod filter;
mod flow;
mod frame_fd;
mod framed;
mod handle;
mod hash;
mod header;
mod mac;
mod negotiated;
mod offloads;
mod pair;
mod props;
mod receive;
mod rss;
mod rules;
mod saved;
mod shared;
mod terms;
mod transmit;
mod window;
mod worker;

pub use backend::{Backend, Facts, Line, Plain};
pub use device::Net;
pub use error::NetError;
pub use filter::{FilterReport, Reception};
pub use frame_fd::FrameFd;
pub use framed::Framed;
pub use handle::NetHandle;
pub use header::HEADER;
pub use mac::Mac;
pub use offloads::Offloads;
pub use props::NetProps;
pub use worker::NetWorker;

pub use {guest_io, virtio_device};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
