//! What is asked of the ring, and what comes back.

use std::io;

use vm_memory::{GuestAddress, GuestMemoryError};

/// A piece of guest memory: where it begins, and its length in bytes. It may be empty.
pub type Segment = (GuestAddress, usize);

/// The end of a request.
#[derive(Debug)]
pub struct Completion {
    /// What the request was given to be known by.
    pub token: u64,
    /// Bytes transferred; 0 for requests that transfer none. A read that met the end of the file
    /// has less than was asked for. The error is an operating system error; it costs no heap.
    pub result: io::Result<usize>,
}

/// Why a request was not started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// As many requests are in flight as the ring was made for: try again after a completion.
    #[error("the ring is full")]
    Full,
    /// A segment is not guest memory, or may not be accessed in this way.
    #[error(transparent)]
    Memory(#[from] GuestMemoryError),
    /// The transfer would end beyond the largest file offset, `i64::MAX`.
    #[error("file offset {0} is too large")]
    Offset(u64),
}
