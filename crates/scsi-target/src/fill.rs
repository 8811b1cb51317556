//! WRITE SAME of something other than zeroes (SBC-3 section 5.44).

use guest_io::block::Channel;
use guest_io::{FileRange, Flags, SubmitError, Submitted};

use crate::scratch::{CHUNK, Own, Scratch};

/// A range that is being filled with one block over and over, and how far that has got.
#[derive(Debug)]
pub(crate) struct Fill {
    range: FileRange,
    done: u64,
    flags: Flags,
    scratch: Scratch,
}

impl Fill {
    /// Fills `range` with what is in `scratch`.
    pub(crate) fn new(range: FileRange, flags: Flags, scratch: Scratch) -> Self {
        Self {
            range,
            done: 0,
            flags,
            scratch,
        }
    }

    /// Writes what is next. `None` if everything is done.
    pub(crate) fn next(
        &mut self,
        token: u64,
        channel: &mut impl Channel<Own>,
    ) -> Option<Result<Submitted, SubmitError>> {
        let len = self.piece();
        let to = (self.range.offset() + self.done, self.flags);
        (len > 0).then(|| self.scratch.write(channel, token, to, len))
    }

    /// That has been written.
    pub(crate) fn advance(&mut self) {
        self.done += u64::from(self.piece());
    }

    /// Bytes that are written next.
    pub(crate) fn piece(&self) -> u32 {
        let left = self.range.len().saturating_sub(self.done);
        left.min(CHUNK.into()) as u32
    }
}
