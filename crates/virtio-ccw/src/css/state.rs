//! Saved state of subchannels and of their subsystem.

use std::sync::atomic::Ordering;

use virtio_device::{Error, Result};

use super::crw::ChannelReports;
use super::orb::Orb;
use super::pmcw::{Modification, Pmcw, Schib};
use super::program::Program;
use super::scsw::{Control, Scsw};
use super::subchannel::{Parked, State};
use super::{Attachment, ChannelSubsystem, Sense};

/// State of a subchannel, apart from the device behind it.
///
/// Every restore treats it as untrusted input.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SubchannelState {
    /// Version of this structure: [`SubchannelState::VERSION`].
    pub version: u32,
    /// Path-management-control word, as STORE SUBCHANNEL stores it.
    pub pmcw: [u8; 28],
    /// Subchannel-status word, as STORE SUBCHANNEL stores it.
    pub scsw: [u8; 12],
    /// Sense bytes of the last unit check.
    pub sense: [u8; 32],
    /// The program, if it has suspended itself.
    pub suspended: Option<ProgramState>,
    /// Unsolicited status waits for that program to end.
    pub alert: bool,
}

impl SubchannelState {
    /// The version that this crate writes and reads.
    pub const VERSION: u32 = 1;
}

/// A suspended channel program.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ProgramState {
    /// Operation-request block.
    pub orb: [u8; 12],
    /// Absolute address of the channel-command word to resume at.
    pub address: u32,
}

/// What the guest has set of the channel subsystem itself, and the reports that it has not fetched.
///
/// Every restore treats it as untrusted input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SubsystemState {
    /// Version of this structure: [`SubsystemState::VERSION`].
    pub version: u32,
    /// The subchannel sets other than the first are enabled.
    pub several_sets: bool,
    /// Channel report words.
    pub reports: Vec<u32>,
    /// The machine check for them was made.
    pub announced: bool,
}

impl SubsystemState {
    /// The version that this crate writes and reads.
    pub const VERSION: u32 = 1;
}

impl Attachment {
    /// State of the subchannel. No program may be at work: CPUs are stopped, and what the control
    /// unit has deferred is finished.
    ///
    /// # Errors
    /// [`Error::Misuse`] while a program is at work, or after [`detach`](Self::detach).
    pub fn save(&self) -> Result<SubchannelState> {
        let saved = self.link().with(|channel| channel.subchannel.lock().save());
        saved.unwrap_or(Err(Error::Misuse("the device is detached")))
    }

    /// Takes over a saved state, into a subchannel as it is after power-on. If status is pending,
    /// its interruption is raised.
    ///
    /// # Errors
    /// [`Error::State`] where it is none of this subchannel's; the subchannel is then as it was.
    pub fn restore(&self, state: &SubchannelState) -> Result<()> {
        let restored = Restored::parse(state)?;
        let done = self
            .link()
            .with(|channel| channel.update(|state| state.restore(restored)));
        done.unwrap_or(Err(Error::Misuse("the device is detached")))
    }
}

impl ChannelSubsystem {
    /// State of the subsystem, apart from its subchannels.
    pub fn save(&self) -> SubsystemState {
        self.shared.with_reports(|reports| SubsystemState {
            version: SubsystemState::VERSION,
            several_sets: self.shared.has_several_sets(),
            reports: reports.words.iter().copied().collect(),
            announced: reports.announced,
        })
    }

    /// Takes over a saved state.
    ///
    /// # Errors
    /// [`Error::State`] where it cannot be; nothing is then changed.
    pub fn restore(&self, state: &SubsystemState) -> Result<()> {
        let SubsystemState {
            version,
            several_sets,
            reports: words,
            announced,
        } = state;
        if *version != SubsystemState::VERSION {
            return Err(Error::State("version of the channel subsystem"));
        }
        // One more than the queue takes can be there when one was put back.
        if words.len() > ChannelReports::MAX_WORDS + 1 {
            return Err(Error::State("too many channel report words"));
        }
        self.shared
            .several_sets
            .store(*several_sets, Ordering::Release);
        self.shared.with_reports(|reports| {
            reports.words = words.iter().copied().collect();
            reports.announced = *announced;
        });
        Ok(())
    }
}

/// A saved state that has been looked at.
struct Restored {
    pmcw: Pmcw,
    scsw: Scsw,
    sense: Sense,
    suspended: Option<Program>,
    alert: bool,
}

impl Restored {
    fn parse(state: &SubchannelState) -> Result<Self> {
        let SubchannelState {
            version,
            pmcw,
            scsw,
            sense,
            suspended,
            alert,
        } = state;
        if *version != SubchannelState::VERSION {
            return Err(Error::State("version of the subchannel"));
        }
        let restored = Self {
            pmcw: Pmcw::from_bytes(pmcw).ok_or(Error::State("path-management-control word"))?,
            scsw: Scsw::from_bytes(scsw),
            sense: Sense(*sense),
            suspended: suspended.as_ref().map(ProgramState::parse).transpose()?,
            alert: *alert,
        };
        match restored.is_possible() {
            true => Ok(restored),
            false => Err(Error::State("subchannel-status word")),
        }
    }

    /// Nothing is at work: there is no activity but that of a program that has suspended itself,
    /// and what has ended is pending.
    fn is_possible(&self) -> bool {
        let control = self.scsw.control;
        let suspended = self.suspended.is_some();
        let activity = Control(control.0 & Control::ACTIVITY.0);
        let resting = match suspended {
            true => activity == Control::SUSPENDED && control.function() == Control::START,
            false => {
                activity == Control::NONE
                    && (self.scsw.is_pending() || control.function() == Control::NONE)
            }
        };
        let busy = suspended || self.scsw.is_pending();
        resting
            && control.without(Control::ALL) == Control::NONE
            && (!busy || self.pmcw.is_enabled())
            && (self.scsw.is_pending() || control.status() == Control::NONE)
            && (suspended || !self.alert)
    }
}

impl ProgramState {
    fn parse(&self) -> Result<Program> {
        let orb = Orb::parse(&self.orb).ok_or(Error::State("operation-request block"))?;
        Ok(Program::suspended(orb, self.address))
    }
}

impl Pmcw {
    fn from_bytes(bytes: &[u8; Self::LEN]) -> Option<Self> {
        let mut schib: Schib = [0; 52];
        schib[..Self::LEN].copy_from_slice(bytes);
        let mut pmcw = Self::new(super::DeviceNumber(u16::from_be_bytes([
            bytes[6], bytes[7],
        ])));
        pmcw.modify(Modification::parse(&schib)?);
        pmcw.last_path_used = bytes[10];
        Some(pmcw)
    }
}

impl State {
    fn save(&self) -> Result<SubchannelState> {
        let suspended = match &self.parked {
            Some(Parked::Suspended(program)) => Some(ProgramState {
                orb: program.orb.bytes,
                address: program.next,
            }),
            _ => None,
        };
        if self.executing || matches!(self.parked, Some(Parked::Deferred(..))) {
            return Err(Error::Misuse("a channel program is at work"));
        }
        Ok(SubchannelState {
            version: SubchannelState::VERSION,
            pmcw: self.pmcw.bytes(),
            scsw: self.scsw.bytes(),
            sense: self.sense.0,
            suspended,
            alert: self.alert,
        })
    }

    fn restore(&mut self, restored: Restored) -> Result<()> {
        let Restored {
            pmcw,
            scsw,
            sense,
            suspended,
            alert,
        } = restored;
        if pmcw.device != self.pmcw.device {
            return Err(Error::State("device number"));
        }
        if self.executing {
            return Err(Error::Misuse("a channel program is at work"));
        }
        self.reset();
        self.pmcw = pmcw;
        self.scsw = scsw;
        self.sense = sense;
        self.alert = alert;
        self.parked = suspended.map(|mut program| {
            program.run = self.run;
            Parked::Suspended(program)
        });
        Ok(())
    }
}
