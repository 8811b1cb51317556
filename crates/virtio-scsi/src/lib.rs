//! The virtio SCSI host device (section 5.6 of the VIRTIO 1.4 specification): a host bus adapter
//! whose logical units come and go while it runs.
//!
//! [`Scsi`] is the device. It carries the commands of its request queues to the
//! [`LogicalUnit`](scsi_target::LogicalUnit)s of the crate `scsi-target`, does the task management
//! functions of its control queue, and tells of units that come, go or change by its event queue.
//! [`ScsiProps`] are QEMU's properties of `virtio-scsi`, [`HdProps`] and [`CdProps`] those of the
//! disks and CD-ROM drives on it, which both include [`UnitProps`]. A [`ScsiHandle`] changes the device while it runs.

#![forbid(unsafe_code)]

mod address;
mod config_space;
mod control;
mod data;
mod device;
mod dispatch;
mod event;
mod handle;
mod office;
mod paths;
mod props;
mod request;
mod requests;
mod roster;
mod saved;
mod tasks;
mod unit_props;
mod worker;

pub use address::{Address, Wish};
pub use device::{Scsi, ScsiError};
pub use handle::ScsiHandle;
pub use props::ScsiProps;
pub use unit_props::{CdProps, HdProps, UnitProps};
pub use worker::ScsiWorker;

pub use {scsi_target, virtio_device};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
