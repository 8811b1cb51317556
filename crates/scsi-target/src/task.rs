//! A command from its start on a path to its end.

use std::io::{self, ErrorKind};

use guest_io::{Completion, SubmitError, Submitted};

use crate::compare::Compare;
use crate::fill::Fill;
use crate::ranges::Ranges;
use crate::{Ending, Sense, Status};

/// The place of one command that is on its way, used again by the next.
#[derive(Debug, Default)]
pub struct Task {
    pub(crate) plan: Plan,
    aborted: bool,
}

/// What is going on, and what comes next.
#[derive(Debug, Default)]
pub(crate) enum Plan {
    #[default]
    Nothing,
    Transfer(Transfer),
    Synchronize,
    Ranges(Ranges),
    Fill(Fill),
    Compare(Compare),
}

/// Data on its way between the medium and the initiator.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transfer {
    pub(crate) lba: u64,
    pub(crate) len: u32,
    pub(crate) writes: bool,
}

/// One request of a command to the back-end.
pub(crate) enum Step {
    /// It is in flight.
    Pending,
    /// It has ended, and with it the command.
    Ended(Ending),
    /// It has transferred so many bytes.
    Done(usize),
}

impl Task {
    /// Has it end as soon as what is in flight does, whatever is left to do.
    pub fn abort(&mut self) {
        self.aborted = true;
    }

    /// Ready for another command.
    pub(crate) fn begin(&mut self) {
        (self.plan, self.aborted) = (Plan::Nothing, false);
    }

    pub(crate) fn is_aborted(&self) -> bool {
        self.aborted
    }
}

impl Transfer {
    /// How it has ended, given how many bytes have moved. Fewer than asked for are an error: the
    /// image has become shorter than the medium.
    pub(crate) fn end(self, count: usize) -> Result<Ending, io::Error> {
        match count == self.len as usize {
            true => Ok(Ending::good(self.len)),
            false => Err(ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// What the initiator hears of a failed request.
pub(crate) fn sense_of(error: &io::Error, writes: bool) -> Sense {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Sense::NO_SPACE,
        ErrorKind::ReadOnlyFilesystem => Sense::WRITE_PROTECTED,
        ErrorKind::OutOfMemory => Sense::TARGET_FAILURE,
        _ if writes => Sense::WRITE_ERROR,
        _ => Sense::READ_ERROR,
    }
}

/// What became of a request that was submitted; `failed` tells of an error.
pub(crate) fn step(
    submitted: Result<Submitted, SubmitError>,
    failed: impl FnOnce(&io::Error) -> Sense,
) -> Step {
    match submitted {
        Ok(Submitted::InFlight) => Step::Pending,
        Ok(Submitted::Done(Ok(count))) => Step::Done(count),
        Ok(Submitted::Done(Err(error))) => Step::Ended(failed(&error).into()),
        Err(SubmitError::Full) => Step::Ended(Ending::status(Status::Busy)),
        Err(SubmitError::Memory(_)) => Step::Ended(Ending::BadBuffer),
        Err(_) => Step::Ended(Sense::OUT_OF_RANGE.into()),
    }
}

/// The same of one that was in flight.
pub(crate) fn resumed(completion: Completion, failed: impl FnOnce(&io::Error) -> Sense) -> Step {
    step(Ok(Submitted::Done(completion.result)), failed)
}
