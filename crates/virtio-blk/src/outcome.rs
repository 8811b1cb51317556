//! How requests end.

use std::io;

use guest_io::block::{Direction, Verdict};

use crate::command::Status;
use crate::shared::Shared;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) status: Status,
    /// Bytes of data written to the start of the writable part.
    pub(crate) written: u32,
    /// It is not told, but the request is begun again by another worker.
    pub(crate) kept: bool,
}

impl Shared {
    /// The outcome of a request that the back-end failed.
    pub(crate) fn failed(&self, direction: Direction, error: &io::Error) -> Outcome {
        match self.failures.judge(direction, error) {
            Verdict::Report => Status::IoErr.into(),
            Verdict::Ignore => Outcome::done(0),
            Verdict::Keep => Outcome {
                kept: true,
                ..Status::IoErr.into()
            },
        }
    }
}

impl Outcome {
    /// All went well, with so many bytes of data written.
    pub(crate) fn done(written: u32) -> Self {
        Self {
            written,
            ..Status::Ok.into()
        }
    }
}

impl From<Status> for Outcome {
    fn from(status: Status) -> Self {
        Self {
            status,
            written: 0,
            kept: false,
        }
    }
}
