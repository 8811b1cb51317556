//! What all virtio transports share.
//!
//! A transport (PCI, MMIO, channel I/O) decodes its own registers and leaves the rest to
//! [`Core`]: the device status machine, feature negotiation, the queue registers, reset, queue
//! reset, pause and saved state. What the core needs of a transport is [`VirtioBus`].
//!
//! The core turns a device's workers into [`Job`]s and gives them to the VMM's [`Runner`], which
//! decides where they run: [`ThreadRunner`] gives each a thread, [`SharedThread`] has one for many,
//! [`InlineRunner`] runs them by hand (tests, fuzzing), and with the feature `event-manager` a job
//! is a subscriber of rust-vmm's event-manager. A VMM that has to know when the threads of runners
//! have nothing left to do gives them an [`Activity`].

#![forbid(unsafe_code)]

mod activity;
mod bus;
mod core;
mod doorbell;
#[cfg(feature = "event-manager")]
mod event_manager;
mod gather;
mod host;
mod inline;
mod job;
mod kicks;
mod patience;
mod queue_regs;
mod reactor;
mod runner;
mod shared;
mod state;
mod status;
mod stopped;
mod thread;

pub use activity::Activity;
pub use bus::{VirtioBus, VirtioProps};
pub use core::{Core, Parts};
pub use doorbell::{Doorbell, DoorbellAddress, DoorbellSet, DoorbellValue, IoEventFds};
#[cfg(feature = "event-manager")]
pub use event_manager::JobSubscriber;
pub use inline::InlineRunner;
pub use job::{Job, Ready};
pub use kicks::Kicks;
pub use queue_regs::QueueRegs;
pub use runner::{NotStarted, Runner, Running};
pub use shared::SharedThread;
pub use state::{CoreState, QueueState};
pub use status::Status;
pub use stopped::Stopped;
pub use thread::ThreadRunner;

pub use virtio_device;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
