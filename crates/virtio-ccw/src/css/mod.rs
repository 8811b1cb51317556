//! A channel subsystem (chapters 13 to 17 of the Principles of Operation).
//!
//! [`ChannelSubsystem`] has the subchannels. Behind each is a [`ControlUnit`], which sees one
//! command of a channel program at a time and its data as a [`Transfer`]; fetching and checking
//! channel-command words, chaining, indirect data addresses, lengths and status are done here.
//! What the VMM supplies is [`CssHost`] (interruptions) and, for each instruction,
//! [`OperandAccess`] (the logical addresses of the CPU that executes it).
//!
//! # What runs where
//!
//! A program is executed by whoever starts or resumes it, and gone on with by whoever
//! [finishes](Completion::finish) a command that was deferred. No lock is held while a control unit
//! works or the host is told of something. Halt, clear and reset are noticed between two commands.
//! A program that fetches 4096 words without suspending itself or waiting for its device is stopped
//! with a channel-control check: otherwise one that loops would keep its CPU for ever.
//!
//! # What is not there
//!
//! | | |
//! |---|---|
//! | transport mode (TCW), reserved bits of ORB and SCHIB, limit mode 3, extended measurements | operand exception |
//! | several channel-subsystem images | operand exception for such a name; CHSC 0x0031 refuses to enable them |
//! | SET CHANNEL MONITOR, SET ADDRESS LIMIT, RESET CHANNEL PATH, SIGNAL ADAPTER | not decoded |
//! | measurement mode, limit mode 1 and 2 | read back as zero |
//! | storage keys, hence protection checks; more than one channel path; address-limit checking | ignored |
//! | CHSC other than 0x0002, 0x0004, 0x0006, 0x0010, 0x0031 | response code 4 |
//! | status modifier, control-unit end, device end apart from channel end, read backward | no [`Outcome`], no direction of a [`Transfer`] |
//!
//! Unsolicited status that comes while a program is suspended is presented when that has ended.

mod attachment;
mod ccw;
mod channel;
mod chsc;
mod control_unit;
mod crw;
mod execute;
mod floating;
mod host;
mod id;
mod ida;
mod instruction;
mod irb;
mod link;
mod orb;
mod pmcw;
mod program;
mod run;
mod scsw;
mod sense;
mod state;
mod storage;
mod subchannel;
mod subsystem;
mod transfer;

pub use attachment::Attachment;
pub use control_unit::{Completion, ControlUnit, Outcome, Signal};
pub use floating::FloatingInterruptions;
pub use host::{CssHost, Interruption, Isc, IscMask};
pub use id::{DeviceNumber, SubchannelId};
pub use instruction::{
    AccessException, ConditionCode, Effect, Instruction, Operand, OperandAccess, ProgramException,
};
pub use sense::{Ciw, Sense, SenseId};
pub use state::{ProgramState, SubchannelState, SubsystemState};
pub use subsystem::{AttachError, ChannelSubsystem, Place};
pub use transfer::{Command, Transfer};
