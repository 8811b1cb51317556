//! A 9P server: the protocol, and two file systems behind it.
//!
//! [`Session`] takes one request message at a time, from any number of threads, and gives the
//! reply to each. It knows no transport: a message is bytes, and the data of reads and writes is
//! behind [`Payload`], so that it can move between a file and wherever the transport has it
//! without a copy.
//!
//! [`Local`] shares a directory of the host and nothing outside of it. [`Synth`] is a small tree
//! in memory, for tests of transports and clients.
//!
//! The protocol is that of the Linux client: 9P2000 in its dialects 9P2000.L and 9P2000.u.

#![forbid(unsafe_code)]
#![cfg(target_os = "linux")]

mod attributes;
mod dialect;
mod fid;
mod filesystem;
mod limits;
mod local;
mod locks;
mod mode;
mod name;
mod numbers;
mod patience;
mod payload;
mod qid;
mod report;
mod request;
mod session;
mod stat;
mod synth;
mod wire;

pub use attributes::{Attributes, Change, Changes, Statistics, Timestamp};
pub use filesystem::{Creation, Entry, FileSystem, Found, Owner, XattrFlags};
pub use limits::Limits;
pub use local::{Local, LocalError, LocalOptions, MultiDevs, SecurityModel};
pub use name::Name;
pub use patience::{Cancel, Patience};
pub use payload::{Buffers, Payload};
pub use qid::{Qid, QidKind};
pub use session::{Served, Session};
pub use synth::Synth;
pub use wire::{Kind, Message, Reply, WRITE_DATA};

pub use rustix::io::Errno;

/// What a request comes to: a value, or the error number that the client is told.
pub type Result<T, E = Errno> = std::result::Result<T, E>;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
