//! Three kinds of error, kept apart: the guest's fault, the back-end's, and the VMM's own misuse.

use std::io;

use crate::RingArea;

/// What went wrong in a device or worker.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The driver broke the rules of its virtqueue. The queue has already stopped.
    #[error("queue: {0}")]
    Queue(#[from] QueueError),
    /// The driver named memory that it does not have.
    #[error("memory: {0}")]
    Memory(#[from] MemoryError),
    /// The host side (a file, a socket, a thread) failed.
    #[error("back-end: {0}")]
    Backend(#[from] io::Error),
    /// The VMM called something in a state in which it cannot be called.
    #[error("misuse: {0}")]
    Misuse(&'static str),
    /// A saved state was refused.
    #[error("saved state: {0}")]
    State(&'static str),
}

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A virtqueue that its driver filled against the rules of the specification.
///
/// The queue stops at the first of these: the ring is marked broken and DEVICE_NEEDS_RESET is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// The available index ran ahead by more than the queue size (section 2.7.13.1).
    #[error("available index is {ahead} ahead in a queue of {size}")]
    AvailableIndex {
        /// How far the driver's index is ahead of the device's.
        ahead: u16,
        /// Queue size in descriptors.
        size: u16,
    },
    /// A head or `next` outside the descriptor table (section 2.7.5).
    #[error("descriptor index {index} in a queue of {size}")]
    DescriptorIndex {
        /// The index that the driver gave.
        index: u16,
        /// Queue size in descriptors.
        size: u16,
    },
    /// A chain longer than the queue size, which includes every loop (section 2.7.5.2).
    #[error("chain longer than the queue size")]
    TooLong,
    /// A device-readable descriptor after a device-writable one (section 2.7.4.2).
    #[error("device-readable descriptor after a device-writable one")]
    Order,
    /// `addr + len` does not fit 64 bits.
    #[error("buffer wraps around the address space")]
    Wrap,
    /// INDIRECT together with NEXT, nested INDIRECT, an indirect table whose length is zero or no
    /// multiple of 16, or one while VIRTIO_F_INDIRECT_DESC was not negotiated (section 2.7.5.3).
    #[error("malformed indirect descriptor")]
    Indirect,
    /// The indirect table lies outside guest memory.
    #[error("indirect table outside guest memory")]
    IndirectMemory,
    /// A buffer that is already in flight was made available again (section 2.7.13).
    #[error("buffer {id} is already in flight")]
    InFlight {
        /// Head index (split) or buffer id (packed).
        id: u16,
    },
    /// An area of the ring is misaligned, or does not lie in one piece of guest memory. Two
    /// regions that touch in guest memory need not do so in the host's: an area that crosses from
    /// one to the other is refused, whoever made them. (Buffers and indirect tables may cross.)
    #[error("{0:?} area of the ring is misaligned or outside guest memory")]
    RingMemory(RingArea),
    /// Queue size zero, above 32768, or (split) not a power of two (sections 2.7 and 2.8.10.1).
    #[error("queue size {0}")]
    Size(u16),
}

/// A guest address range that is not there, or not accessible in the wanted direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// Some byte of the range is not guest memory.
    #[error("{len} bytes at {address:#x} are not guest memory")]
    OutOfRange {
        /// First guest address of the range.
        address: u64,
        /// Length in bytes.
        len: u64,
    },
    /// The chain has fewer bytes than the access needs.
    #[error("chain of {have} bytes where {want} are needed")]
    Short {
        /// Bytes from the start of the chain that the access needs.
        want: u64,
        /// Bytes that the chain has in this direction.
        have: u64,
    },
}

impl From<MemoryError> for io::Error {
    fn from(error: MemoryError) -> Self {
        io::Error::new(io::ErrorKind::InvalidInput, error)
    }
}
