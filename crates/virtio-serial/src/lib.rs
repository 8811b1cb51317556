//! The virtio console device (section 5.3 of the VIRTIO 1.4 specification): consoles and named
//! serial ports.
//!
//! [`Serial`] is the device. It carries [`Port`]s, each with a [`PortBackend`] at its host end; all
//! of them are served by one [`SerialWorker`]. [`SerialProps`] and [`PortProps`] are QEMU's
//! properties of `virtio-serial`, `virtconsole` and `virtserialport`. A [`SerialHandle`] changes
//! the device while it runs.

#![forbid(unsafe_code)]

mod backend;
mod config_space;
mod control;
mod device;
mod dialogue;
mod handle;
mod numbering;
mod port;
mod port_state;
mod ports;
mod props;
mod queues;
mod receive;
mod roster;
mod saved;
mod transmit;
mod watch;
mod worker;

pub use backend::{Null, PortBackend};
pub use device::{Serial, SerialError};
pub use handle::SerialHandle;
pub use port::{Port, PortKind};
pub use props::{PortProps, SerialProps};
pub use worker::SerialWorker;

pub use virtio_device;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
