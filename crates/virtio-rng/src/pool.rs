//! Entropy on its way from the source to the guest.

use std::io;

use crate::EntropySource;

/// A fixed buffer of bytes that the source gave and the guest has not had.
///
/// It is filled before a request is taken from the queue, so that a source that has nothing yet
/// leaves no request in flight.
pub(crate) struct Pool {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

/// What a pool can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Supply {
    /// At least one byte.
    Ready,
    /// Nothing until the source's descriptor is readable.
    Later,
    /// Nothing: the source failed or has dried up.
    Failed,
}

impl Pool {
    pub(crate) fn new() -> Self {
        Self {
            bytes: vec![0; Self::CAPACITY].into(),
            start: 0,
            end: 0,
        }
    }

    /// Asks the source, if the pool is empty.
    pub(crate) fn refill(&mut self, source: &mut impl EntropySource) -> Supply {
        if self.start < self.end {
            return Supply::Ready;
        }
        match source.fill(&mut self.bytes) {
            Ok(0) => Supply::Failed,
            Ok(len) => {
                (self.start, self.end) = (0, len.min(self.bytes.len()));
                Supply::Ready
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => match source.readiness() {
                Some(_) => Supply::Later,
                None => Supply::Failed,
            },
            Err(_) => Supply::Failed,
        }
    }

    /// Hands at most `limit` bytes to `give`, and forgets them whether or not it takes them: no
    /// byte is given twice.
    pub(crate) fn take(&mut self, limit: usize, give: impl FnOnce(&[u8]) -> bool) -> usize {
        let end = self.end.min(self.start.saturating_add(limit));
        let bytes = self.bytes.get_mut(self.start..end).unwrap_or_default();
        let taken = if give(bytes) { bytes.len() } else { 0 };
        bytes.fill(0);
        self.start = end;
        taken
    }

    /// Bytes that it holds at most, and therefore that one request can have.
    pub(crate) const CAPACITY: usize = 4096;
}
