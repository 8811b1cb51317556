//! How one request to the back-end ends, and what comes of it if it fails.

use std::io::{self, ErrorKind};

use guest_io::block::{Direction, Verdict};

use crate::task::Step;
use crate::{Ending, LogicalUnit, Sense};

/// A request to the back-end, for the judgement of its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    direction: Direction,
    /// Bytes that it should transfer; 0 where they are not counted.
    len: u32,
    /// The block that an error is told of.
    lba: Option<u64>,
}

impl Attempt {
    /// A read of so many bytes.
    pub(crate) fn read(len: u32) -> Self {
        Self {
            direction: Direction::Read,
            len,
            lba: None,
        }
    }

    /// A write of so many bytes, or something else that changes the medium.
    pub(crate) fn write(len: u32) -> Self {
        Self {
            direction: Direction::Write,
            ..Self::read(len)
        }
    }

    /// The same at this block.
    pub(crate) fn at(self, lba: u64) -> Self {
        Self {
            lba: Some(lba),
            ..self
        }
    }

    /// What the initiator hears of its failure.
    fn sense(self, error: &io::Error) -> Sense {
        let sense = match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Sense::NO_SPACE,
            ErrorKind::ReadOnlyFilesystem => Sense::WRITE_PROTECTED,
            ErrorKind::OutOfMemory => Sense::TARGET_FAILURE,
            _ if self.direction == Direction::Write => Sense::WRITE_ERROR,
            _ => Sense::READ_ERROR,
        };
        self.lba.map_or(sense, |lba| sense.at(lba))
    }
}

impl<B> LogicalUnit<B> {
    /// What has become of `attempt`, of which so many bytes were transferred. Fewer than asked for
    /// are an error: the image has become shorter than the medium.
    #[inline]
    pub(crate) fn judge(&self, attempt: Attempt, result: io::Result<usize>) -> Step {
        match result {
            Ok(count) if attempt.len == 0 || count == attempt.len as usize => Step::Done,
            Ok(_) => self.failed(attempt, &ErrorKind::UnexpectedEof.into()),
            Err(error) => self.failed(attempt, &error),
        }
    }

    #[cold]
    fn failed(&self, attempt: Attempt, error: &io::Error) -> Step {
        match self.failures.judge(attempt.direction, error) {
            Verdict::Report => Step::Ended(attempt.sense(error).into()),
            Verdict::Ignore => Step::Done,
            Verdict::Keep => Step::Ended(Ending::Kept),
        }
    }
}
