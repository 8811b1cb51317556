//! What a virtio device *is*, apart from the transport that carries it.
//!
//! A device author writes two things: a [`VirtioDevice`] (the control plane: identity, features,
//! configuration space, activation) and a [`Worker`] (the data plane: what happens when a queue is
//! notified or a host file descriptor becomes ready). Neither knows a transport, a hypervisor, a
//! thread or an event loop; a bus (crate `virtio-bus`) and a transport (`virtio-pci`,
//! `virtio-mmio`, `virtio-ccw`, ...) supply those.
//!
//! The crate brings the rings with it: [`Virtqueue`] is one wake-up's view of a split or packed
//! virtqueue, hands out validated [`Chain`]s and takes each back exactly once.
//!
//! Section numbers in this crate's documentation are those of the VIRTIO 1.4 specification.

#![forbid(unsafe_code)]

mod byte_order;
mod chain;
mod config;
mod descriptor;
mod device;
mod error;
mod features;
mod id;
mod in_order;
mod interrupt;
mod live;
mod packed;
pub mod props;
mod queue;
mod ring;
mod split;
mod state;
mod view;
mod worker;
mod wrap;

pub use byte_order::ByteOrder;
pub use chain::{Buffer, Chain};
pub use config::ConfigCell;
pub use device::{Activation, AddressSpace, DynDevice, Info, Placed, VirtioDevice};
pub use error::{Error, MemoryError, QueueError, Result};
pub use features::{Dependency, Features};
pub use id::DeviceId;
pub use interrupt::{DeviceHost, Interrupt, IrqSource};
pub use queue::Virtqueue;
pub use ring::{QueueSize, Ring, RingArea, RingConfig, RingFormat, RingPosition};
pub use state::SavedState;
pub use view::GuestView;
pub use worker::{Cx, Interest, Progress, Reactor, Source, Worker};

pub use guest_io::Timer;
pub use {virtio_bindings, virtio_queue, vm_memory, vmm_sys_util};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
