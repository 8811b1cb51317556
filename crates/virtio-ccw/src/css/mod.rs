//! A channel subsystem (chapters 13 to 17 of the Principles of Operation).
//!
//! [`ChannelSubsystem`] has the subchannels. Behind each is a [`ControlUnit`], which sees one
//! command of a channel program at a time and its data as a [`Transfer`]; fetching and checking
//! channel-command words, chaining, indirect data addresses, lengths and status are done here.
//! What the VMM supplies is [`CssHost`] (interruptions) and, for each instruction,
//! [`OperandAccess`] (the logical addresses of the CPU that executes it).

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
