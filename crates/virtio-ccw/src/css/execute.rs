//! Executing the I/O instructions: operands, exceptions, condition codes (chapter 14).
//!
//! Exceptions come in the order that the architecture gives them: specification, access, operand.

use super::channel::Channel;
use super::crw::ChannelReports;
use super::orb::Orb;
use super::pmcw::Modification;
use super::{
    AccessException, ChannelSubsystem, ConditionCode, Effect, Instruction, IscMask, Operand,
    OperandAccess, ProgramException, SubchannelId,
};

impl ChannelSubsystem {
    /// Executes an instruction. Privileged: whether the CPU is in the supervisor state was checked
    /// before.
    ///
    /// Bounded work, no waiting. Any number of CPUs may be in here.
    pub fn execute(&self, instruction: Instruction, storage: &mut dyn OperandAccess) -> Effect {
        self.dispatch(instruction, storage)
            .unwrap_or_else(|suppressed| match suppressed {
                Suppressed::Program(exception) => Effect::Program(exception),
                Suppressed::Access => Effect::Access,
            })
    }

    fn dispatch(&self, instruction: Instruction, storage: &mut dyn OperandAccess) -> Executed {
        let by_name = |subchannel, function: fn(&Channel) -> ConditionCode| {
            let channel = self.channel(subchannel)?;
            Ok(Effect::ConditionCode(operate(channel.as_ref(), function)))
        };
        match instruction {
            Instruction::Csch { subchannel } => by_name(subchannel, Channel::clear),
            Instruction::Hsch { subchannel } => by_name(subchannel, Channel::halt),
            Instruction::Rsch { subchannel } => by_name(subchannel, Channel::resume),
            Instruction::Xsch { subchannel } => by_name(subchannel, Channel::cancel),
            Instruction::Msch { subchannel, schib } => self.msch(subchannel, schib, storage),
            Instruction::Ssch { subchannel, orb } => self.ssch(subchannel, orb, storage),
            Instruction::Stsch { subchannel, schib } => self.stsch(subchannel, schib, storage),
            Instruction::Tsch { subchannel, irb } => self.tsch(subchannel, irb, storage),
            Instruction::Tpi { code, enabled } => self.tpi(code, enabled, storage),
            Instruction::Stcrw { crw } => self.stcrw(crw, storage),
            Instruction::Chsc { block } => self.chsc(block, storage),
            Instruction::Notify {
                subchannel,
                queue,
                cookie,
            } => Ok(self.notify(subchannel, queue, cookie)),
        }
    }

    fn msch(&self, subchannel: u32, schib: Operand, storage: &mut dyn OperandAccess) -> Executed {
        let schib = read(schib, storage)?;
        let channel = self.channel(subchannel)?;
        let change = Modification::parse(&schib).ok_or(ProgramException::Operand)?;
        let code = operate(channel.as_ref(), |channel| channel.modify(change));
        Ok(Effect::ConditionCode(code))
    }

    fn ssch(&self, subchannel: u32, orb: Operand, storage: &mut dyn OperandAccess) -> Executed {
        let orb = read(orb, storage)?;
        let channel = self.channel(subchannel)?;
        let orb = Orb::parse(&orb).ok_or(ProgramException::Operand)?;
        let code = operate(channel.as_ref(), |channel| channel.start(orb));
        Ok(Effect::ConditionCode(code))
    }

    /// A subchannel without a device that is followed by others reads as all zero.
    fn stsch(&self, subchannel: u32, schib: Operand, storage: &mut dyn OperandAccess) -> Executed {
        aligned(schib, 4)?;
        let Some(id) = SubchannelId::from_word(subchannel) else {
            storage.check_write(schib, SCHIB)?;
            return Err(ProgramException::Operand.into());
        };
        let last = self.shared.last(id.set());
        let stored = self.find(id).and_then(|channel| channel.store());
        let zero = last.is_some_and(|last| id.number() <= last);
        match stored.or(zero.then_some([0; SCHIB])) {
            Some(bytes) => {
                storage.write(schib, &bytes)?;
                Ok(Effect::ConditionCode(ConditionCode::Cc0))
            }
            None => {
                storage.check_write(schib, SCHIB)?;
                Ok(Effect::ConditionCode(ConditionCode::Cc3))
            }
        }
    }

    fn tsch(&self, subchannel: u32, irb: Operand, storage: &mut dyn OperandAccess) -> Executed {
        aligned(irb, 4)?;
        let Some(id) = SubchannelId::from_word(subchannel) else {
            storage.check_write(irb, IRB)?;
            return Err(ProgramException::Operand.into());
        };
        let fetched = self.find(id).and_then(|channel| {
            let fetched = channel.test().ok()?;
            Some((channel, fetched))
        });
        let Some((channel, fetched)) = fetched else {
            storage.check_write(irb, IRB)?;
            return Ok(Effect::ConditionCode(ConditionCode::Cc3));
        };
        storage
            .write(irb, &fetched.irb)
            .inspect_err(|_| channel.restore(&fetched))?;
        Ok(Effect::ConditionCode(fetched.code()))
    }

    fn tpi(&self, code: Operand, enabled: IscMask, storage: &mut dyn OperandAccess) -> Executed {
        aligned(code, 4)?;
        let low_core = code.address == 0;
        if !low_core {
            storage.check_write(code, 8)?;
        }
        let Some(interruption) = self.shared.host.take(enabled) else {
            return Ok(Effect::ConditionCode(ConditionCode::Cc0));
        };
        let [first, second, third] = [
            interruption.subchannel_word(),
            interruption.parameter(),
            interruption.word(),
        ];
        if low_core {
            return Ok(Effect::InterruptionCode([first, second, third]));
        }
        let bytes = (u64::from(first) << 32 | u64::from(second)).to_be_bytes();
        storage
            .write(code, &bytes)
            .inspect_err(|_| self.shared.host.raise(interruption))?;
        Ok(Effect::ConditionCode(ConditionCode::Cc1))
    }

    fn stcrw(&self, crw: Operand, storage: &mut dyn OperandAccess) -> Executed {
        aligned(crw, 4)?;
        let word = self.shared.with_reports(ChannelReports::take);
        if let Err(exception) = storage.write(crw, &word.unwrap_or(0).to_be_bytes()) {
            self.shared.with_reports(|reports| reports.put_back(word));
            return Err(exception.into());
        }
        let code = word.map_or(ConditionCode::Cc1, |_| ConditionCode::Cc0);
        Ok(Effect::ConditionCode(code))
    }

    fn notify(&self, subchannel: u64, queue: u64, cookie: u64) -> Effect {
        let unit = SubchannelId::from_word(subchannel as u32)
            .and_then(|id| self.shared.find(id))
            .and_then(|subchannel| {
                let state = subchannel.lock();
                state.unit.clone().filter(|_| state.pmcw.is_enabled())
            });
        let cookie = unit.and_then(|unit| unit.notify(queue, cookie));
        Effect::Register {
            number: 2,
            value: cookie.unwrap_or(NO_SUCH_QUEUE),
        }
    }

    /// The subchannel that a subsystem-identification word names, if there is one.
    fn channel(&self, word: u32) -> Result<Option<Channel>, Suppressed> {
        let id = SubchannelId::from_word(word).ok_or(ProgramException::Operand)?;
        Ok(self.find(id))
    }

    fn find(&self, id: SubchannelId) -> Option<Channel> {
        let subchannel = self.shared.find(id)?;
        Some(Channel::new(self.shared.clone(), subchannel))
    }
}

/// Not operational, where there is nothing to operate.
fn operate(
    channel: Option<&Channel>,
    function: impl FnOnce(&Channel) -> ConditionCode,
) -> ConditionCode {
    channel.map_or(ConditionCode::Cc3, function)
}

/// Reads an operand of whole words.
fn read<const N: usize>(
    operand: Operand,
    storage: &mut dyn OperandAccess,
) -> Result<[u8; N], Suppressed> {
    aligned(operand, 4)?;
    let mut bytes = [0; N];
    storage.read(operand, &mut bytes)?;
    Ok(bytes)
}

pub(super) fn aligned(operand: Operand, boundary: u64) -> Result<(), Suppressed> {
    match operand.address.is_multiple_of(boundary) {
        true => Ok(()),
        false => Err(ProgramException::Specification.into()),
    }
}

pub(super) type Executed = Result<Effect, Suppressed>;

/// Why an instruction is not executed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Suppressed {
    Program(ProgramException),
    Access,
}

impl From<ProgramException> for Suppressed {
    fn from(exception: ProgramException) -> Self {
        Self::Program(exception)
    }
}

impl From<AccessException> for Suppressed {
    fn from(_: AccessException) -> Self {
        Self::Access
    }
}

const SCHIB: usize = 52;
const IRB: usize = 64;
/// -EINVAL, by virtio's convention.
const NO_SUCH_QUEUE: u64 = 22u64.wrapping_neg();
