//! SCSI logical units (SPC-4, SBC-3, MMC-6): disks and CD-ROM drives on the back-ends of
//! [`guest_io::block`].
//!
//! A [`LogicalUnit`] is the device server: it answers what concerns itself (INQUIRY, mode pages,
//! reservations, the tray) at once, and hands out what concerns its medium as an [`Access`]. That
//! is done on a [`Path`], which is one worker's way to the medium, by a [`Task`], which stays with
//! the command until it ends. Data moves between the medium and the [`Buffers`] of the command
//! without a copy.
//!
//! Nothing here knows what carries the commands: no virtio, no queues, no threads. A host bus
//! adapter finds the unit that a command is for, lends it the command's buffers, polls the paths,
//! and tells the initiator how commands ended.

#![forbid(unsafe_code)]

mod absent;
mod attempt;
mod attention;
mod buffers;
mod cdb;
mod command;
mod compare;
mod error;
mod execute;
mod features;
mod fill;
mod inquiry;
mod lun;
mod medium;
mod mode;
mod mode_select;
mod multimedia;
mod opcode;
mod path;
mod plan;
mod ranges;
mod reply;
mod reservation;
mod saved;
mod scratch;
mod sense;
mod setup;
mod status;
mod steps;
mod supported;
mod task;
mod toc;
mod tray;
mod unit;
mod vital;

pub use absent::absent;
pub use attention::Attention;
pub use buffers::{BadBuffer, Buffers};
pub use cdb::Cdb;
pub use command::Access;
pub use error::{TrayError, UnitError};
pub use lun::Lun;
pub use path::{PATH_FDS, Path};
pub use sense::{Key, Sense, SenseBytes};
pub use setup::{Identity, Kind, Setup};
pub use status::{Ending, Status};
pub use task::Task;
pub use unit::{Begun, LogicalUnit};

pub use guest_io;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
