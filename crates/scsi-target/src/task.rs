//! A command from its start on a path to its end.

use std::io;

use guest_io::{SubmitError, Submitted};

use crate::attempt::Attempt;
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
    /// It has transferred all that it should.
    Done,
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

impl Plan {
    /// The request that is in flight or next.
    pub(crate) fn attempt(&self) -> Attempt {
        match self {
            Self::Nothing => Attempt::read(0),
            Self::Transfer(transfer) => transfer.attempt(),
            Self::Synchronize | Self::Ranges(_) => Attempt::write(0),
            Self::Fill(fill) => Attempt::write(fill.piece()),
            Self::Compare(compare) => match compare.piece() {
                0 => Attempt::write(compare.done),
                len => Attempt::read(len),
            },
        }
    }

    /// Bytes of the data-out buffer that it has used when everything is done.
    pub(crate) fn transferred(&self) -> u32 {
        match self {
            Self::Compare(compare) => compare.done,
            _ => 0,
        }
    }
}

impl Transfer {
    pub(crate) fn attempt(self) -> Attempt {
        let attempt = match self.writes {
            true => Attempt::write(self.len),
            false => Attempt::read(self.len),
        };
        attempt.at(self.lba)
    }
}

/// What became of a request that was submitted. `judge` says what becomes of one that has failed.
pub(crate) fn step(
    submitted: Result<Submitted, SubmitError>,
    judge: impl FnOnce(io::Result<usize>) -> Step,
) -> Step {
    match submitted {
        Ok(Submitted::InFlight) => Step::Pending,
        Ok(Submitted::Done(result)) => judge(result),
        Err(SubmitError::Full) => Step::Ended(Ending::status(Status::Busy)),
        Err(SubmitError::Memory(_)) => Step::Ended(Ending::BadBuffer),
        Err(_) => Step::Ended(Sense::OUT_OF_RANGE.into()),
    }
}
