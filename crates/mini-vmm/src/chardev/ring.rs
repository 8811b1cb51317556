//! Memory in place of a peer: it holds the last bytes written, for a monitor to read, and what a
//! monitor writes, for the guest to read.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::event::{EventfdFlags, eventfd};

use super::would_block;

#[derive(Debug)]
pub(super) struct Ring {
    size: usize,
    written: Mutex<VecDeque<u8>>,
    typed: Mutex<VecDeque<u8>>,
    /// Readable while something is typed.
    event: OwnedFd,
}

impl Ring {
    pub(super) fn new(size: usize) -> io::Result<Self> {
        Ok(Self {
            size,
            written: Mutex::default(),
            typed: Mutex::default(),
            event: eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?,
        })
    }

    pub(super) fn input(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut typed = lock(&self.typed);
        let read = fill(buffer, &mut typed);
        if typed.is_empty() {
            let _ = rustix::io::read(&self.event, &mut [0; 8]);
        }
        if read == 0 { would_block() } else { Ok(read) }
    }

    /// Takes everything; what does not fit pushes the oldest out.
    pub(super) fn write(&self, bytes: &[u8]) -> usize {
        push(&mut lock(&self.written), bytes, self.size);
        bytes.len()
    }

    /// Takes out at most `size` of the bytes written, the oldest first.
    pub(super) fn take(&self, size: usize) -> Vec<u8> {
        let mut written = lock(&self.written);
        let size = size.min(written.len());
        written.drain(..size).collect()
    }

    /// Has the guest read `bytes`.
    pub(super) fn put(&self, bytes: &[u8]) {
        push(&mut lock(&self.typed), bytes, self.size);
        let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
    }
}

fn lock(bytes: &Mutex<VecDeque<u8>>) -> MutexGuard<'_, VecDeque<u8>> {
    bytes.lock().unwrap_or_else(PoisonError::into_inner)
}

fn fill(buffer: &mut [u8], from: &mut VecDeque<u8>) -> usize {
    let length = buffer.len().min(from.len());
    buffer
        .iter_mut()
        .zip(from.drain(..length))
        .for_each(|(slot, byte)| *slot = byte);
    length
}

fn push(to: &mut VecDeque<u8>, bytes: &[u8], most: usize) {
    let kept = bytes.get(bytes.len().saturating_sub(most)..);
    let kept = kept.unwrap_or_default();
    let room = most - kept.len();
    let excess = to.len().saturating_sub(room);
    to.drain(..excess);
    to.extend(kept);
}
