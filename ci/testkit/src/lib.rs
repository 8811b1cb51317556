//! What tests of virtio devices need: the driver's side.
//!
//! [`DriverQueue`] is a guest driver's virtqueue of either format, for well-behaved traffic and
//! for forgery. [`TestBus`] puts a device on a bus in memory, with such a driver on the other end,
//! all on one thread and without a hypervisor. [`device_suite!`] is what every device must stand.
//!
//! [`mod@bench`] is what benchmarks share.
//! [`clock`] is one that stands still, for disks with limits.
//! [`channel`] is the other end of a channel subsystem: a CPU and its interruptions.
//! [`p9`] is a client of shared directories, over any transport.
//! [`scripted`] is a disk that fails as it is told to.
//! [`qtest`] is the processor of a whole VMM, which runs as a process of its own.
//!
//! The kit panics where the device under test breaks the rules: that is how tests fail.

#![forbid(unsafe_code)]

pub mod bench;
mod bus;
pub mod channel;
pub mod clock;
mod descriptor;
mod heap;
mod loopback;
mod malformed;
mod memory;
pub mod p9;
mod packed;
mod patience;
pub mod qtest;
mod queue;
pub mod scripted;
mod split;
pub mod suite;
mod toy;
mod wires;

pub use bus::{Options, Request, Response, Space, TestBus};
pub use descriptor::{AVAIL, INDIRECT, NEXT, RawDescriptor, Segment, USED, WRITE};
pub use heap::Heap;
pub use loopback::loopback;
pub use malformed::Malformed;
pub use memory::{BOUNDARY, END, Memory, Ram, clear_dirty, is_dirty, memory};
pub use packed::PackedDriver;
pub use patience::{PATIENCE, wait_for};
pub use queue::{DriverQueue, DriverRing, Used, describe};
pub use split::SplitDriver;
pub use toy::{Knobs, Toy, ToyWorker};
pub use wires::Interrupts;

pub use {virtio_bus, virtio_ccw, virtio_device, vm_memory};
