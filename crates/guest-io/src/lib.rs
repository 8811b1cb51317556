//! Vectored, positioned and io_uring I/O between file descriptors and guest memory.
//!
//! A device holds a request as guest segments; a host file wants an array of pointers. This crate
//! is the one place of the workspace where the first becomes the second: no byte is copied on the
//! way, and every guest page that a file was read into is marked dirty, exactly.
//!
//! - [`Iovecs`] gathers the slices of a request, in [`Storage`] that is reused from one request to
//!   the next. [`read_at`], [`write_at`], [`readv`], [`writev`] move the bytes with one system
//!   call each; the `exact` and `all` forms repeat it until everything is moved.
//! - [`Uring`] does the same without waiting. A request owns its segments and a clone of the
//!   guard that keeps the guest memory mapped, until the kernel is done with both.
//! - [`Engine`] chooses between the two for each request, and does without io_uring where the
//!   host refuses it.
//! - [`Area`] and [`Array`] are guest memory that is resolved once and then loaded from and stored
//!   to by offset or index: the rings of a device.
//! - [`Disk`] and [`lock`](lock()) are the facts and operations that a virtual disk needs of its
//!   file: size, block sizes, discard, zeroing, and not being opened twice.
//! - [`block`] is the seam between a disk of whatever kind and its storage, with raw images.
//!
//! It knows nothing of virtio: queues, request headers and limits belong to the devices.

#![cfg(target_os = "linux")]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod anchor;
mod area;
mod array;
pub mod block;
mod bounce;
mod discard;
mod disk;
mod engine;
mod iovec_array;
mod iovecs;
mod lock;
mod request;
mod slot;
mod storage;
mod timer;
mod uring;
mod vectored;
mod word;
mod zeroes;

use std::ops::Deref;

use vm_memory::GuestMemory;

pub use area::Area;
pub use array::{Array, Entries};
pub use discard::{discard, page_size};
pub use disk::{Alignment, BlockSize, Disk, FileRange};
pub use engine::{Deferred, Engine, Mode, Submitted};
pub use iovecs::Iovecs;
pub use lock::{Access, lock};
pub use request::{Completion, Segment, SubmitError};
pub use storage::Storage;
pub use timer::Timer;
pub use uring::Uring;
pub use vectored::{
    Flags, read_at, read_exact_at, readv, readv_exact, write_all_at, write_at, writev, writev_all,
};
pub use word::Word;

/// A handle that keeps guest memory mapped and can be cloned: vm-memory's
/// [`GuestAddressSpace::T`](vm_memory::GuestAddressSpace::T), for instance an
/// `Arc<GuestMemoryMmap>` or a `GuestMemoryLoadGuard`.
///
/// A name for these bounds, implemented for every type that meets them. The guard owns what it
/// keeps mapped (`'static`): a borrow could end while the kernel still writes to the memory, if
/// the [`Uring`] that waits for the kernel were forgotten instead of dropped.
pub trait MemoryGuard: Deref<Target = <Self as MemoryGuard>::Memory> + Clone + 'static {
    /// The guest memory behind the guard.
    type Memory: GuestMemory + 'static;
}

impl<G> MemoryGuard for G
where
    G: Deref + Clone + 'static,
    G::Target: GuestMemory + Sized + 'static,
{
    type Memory = G::Target;
}

// A pointer to guest memory must stay good after the guard it was taken from is gone. It does
// not with vm-memory's `xen` feature, which maps each slice for the life of a `PtrGuard` only;
// the guard is then larger than pointer and length.
const _: () = assert!(
    size_of::<vm_memory::volatile_memory::PtrGuard>() == 2 * size_of::<usize>(),
    "guest-io does not support the `xen` feature of vm-memory"
);
