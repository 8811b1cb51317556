//! QMP, QEMU's machine protocol (its docs/interop/qmp-spec): JSON over a character device, by
//! which a program outside controls the machine and hears of it.
//!
//! Commands are executed on the main thread, one after the other. A request is bounded in length,
//! a peer that does not read replies is not listened to, and one that does not read events is cut
//! off; so no peer can make the VMM grow or wait.
//!
//! The types are our own: those of the crate `qapi-qmp` are made for the client's side, where
//! replies are read and requests written, and cannot be built the other way round.

mod arguments;
mod base64;
mod command;
mod commands;
mod error;
mod event;
mod framer;
mod monitor;
mod request;

pub use command::execute;
pub use error::{Class, QmpError};
pub use event::Event;
pub use monitor::Monitor;
pub use request::Request;
