//! Virtio over channel I/O (section 4.3), the transport of s390 machines, for any VMM.
//!
//! [`css`] is a channel subsystem: subchannels, channel programs, the I/O instructions, channel
//! report words. [`intercept`] turns what KVM on s390x reports about an instruction into a call of
//! it. Neither knows virtio, KVM or the host's architecture.
//!
//! Names are those of the z/Architecture Principles of Operation (SA22-7832), whose chapters are
//! meant where a section number has no other source.

#![forbid(unsafe_code)]

pub mod css;
pub mod intercept;

pub use virtio_device;
