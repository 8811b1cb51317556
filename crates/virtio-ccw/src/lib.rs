//! Virtio over channel I/O (section 4.3), the transport of s390 machines, for any VMM.
//!
//! [`css`] is a channel subsystem: subchannels, channel programs, the I/O instructions, channel
//! report words. [`intercept`] turns what KVM on s390x reports about an instruction into a call of
//! it. Neither knows virtio, KVM or the host's architecture.
//!
//! [`CcwTransport`] is a virtio device as the control unit behind a subchannel.
//!
//! Names are those of the z/Architecture Principles of Operation (SA22-7832), whose chapters are
//! meant where a section number has no other source.

#![forbid(unsafe_code)]

pub mod css;
pub mod intercept;

mod bus;
mod command;
mod config;
mod error;
mod indicators;
mod interrupt;
mod parts;
mod props;
mod registers;
mod revision;
mod state;
mod transport;

pub use error::Error;
pub use indicators::{QueueIndicators, TwoStage};
pub use parts::CcwParts;
pub use props::{CcwProps, Devno};
pub use state::CcwState;
pub use transport::CcwTransport;

pub use {virtio_bus, virtio_device};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
