//! How a command ends.

use crate::Sense;

/// A SCSI status code (SAM-5 section 5.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// GOOD.
    Good = 0x00,
    /// CHECK CONDITION: the sense data say why.
    CheckCondition = 0x02,
    /// BUSY: to be sent again later.
    Busy = 0x08,
    /// RESERVATION CONFLICT.
    ReservationConflict = 0x18,
}

/// How a command ended, for the transport to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The device server came to a status.
    Status {
        /// The status.
        status: Status,
        /// Why, with CHECK CONDITION; see [`LogicalUnit::encode`](crate::LogicalUnit::encode).
        sense: Option<Sense>,
        /// Bytes that were transferred, of the one buffer that the command has.
        transferred: u32,
    },
    /// The command asks for more data than its buffers hold.
    Overrun,
    /// A buffer cannot be accessed.
    BadBuffer,
    /// A task management function ended it.
    Aborted,
    /// It has not ended: the back-end failed it, and it is to be begun anew when commands are taken
    /// again after a stop, or be aborted before that.
    Kept,
}

impl Ending {
    /// GOOD, with this number of bytes transferred.
    pub const fn good(transferred: u32) -> Self {
        Self::Status {
            status: Status::Good,
            sense: None,
            transferred,
        }
    }

    /// A status without sense data or transferred bytes.
    pub const fn status(status: Status) -> Self {
        Self::Status {
            status,
            sense: None,
            transferred: 0,
        }
    }
}

impl From<Sense> for Ending {
    fn from(sense: Sense) -> Self {
        Self::Status {
            status: Status::CheckCondition,
            sense: Some(sense),
            transferred: 0,
        }
    }
}
