//! The I/O instructions (chapter 14): what comes in, and what becomes of it.

/// An I/O instruction, decoded. [`Intercept`](crate::intercept::Intercept) makes them.
///
/// `subchannel` is the subsystem-identification word from general register 1, not yet checked:
/// whether it names a subchannel is part of executing the instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// CLEAR SUBCHANNEL.
    Csch {
        /// Subsystem-identification word.
        subchannel: u32,
    },
    /// HALT SUBCHANNEL.
    Hsch {
        /// Subsystem-identification word.
        subchannel: u32,
    },
    /// MODIFY SUBCHANNEL.
    Msch {
        /// Subsystem-identification word.
        subchannel: u32,
        /// Subchannel-information block: 52 bytes.
        schib: Operand,
    },
    /// START SUBCHANNEL.
    Ssch {
        /// Subsystem-identification word.
        subchannel: u32,
        /// Operation-request block: 12 bytes.
        orb: Operand,
    },
    /// STORE SUBCHANNEL.
    Stsch {
        /// Subsystem-identification word.
        subchannel: u32,
        /// Subchannel-information block: 52 bytes.
        schib: Operand,
    },
    /// TEST SUBCHANNEL.
    Tsch {
        /// Subsystem-identification word.
        subchannel: u32,
        /// Interruption-response block: 64 bytes.
        irb: Operand,
    },
    /// TEST PENDING INTERRUPTION.
    Tpi {
        /// Interruption code: 8 bytes, or low core where the address is 0.
        code: Operand,
        /// Subclasses that the CPU is enabled for.
        enabled: super::IscMask,
    },
    /// RESUME SUBCHANNEL.
    Rsch {
        /// Subsystem-identification word.
        subchannel: u32,
    },
    /// STORE CHANNEL REPORT WORD.
    Stcrw {
        /// Channel report word: 4 bytes.
        crw: Operand,
    },
    /// CANCEL SUBCHANNEL.
    Xsch {
        /// Subsystem-identification word.
        subchannel: u32,
    },
    /// CHANNEL SUBSYSTEM CALL.
    Chsc {
        /// A page: request, then response.
        block: Operand,
    },
    /// DIAGNOSE 0x500 with subcode 3, virtio's notification: see
    /// [`ControlUnit::notify`](super::ControlUnit::notify). Other subcodes are not decoded: they
    /// are the VMM's (whose answer to one that it does not know is -EINVAL in general register 2).
    Notify {
        /// Subsystem-identification word: general register 2.
        subchannel: u64,
        /// Queue: general register 3.
        queue: u64,
        /// Cookie: general register 4.
        cookie: u64,
    },
}

/// A logical address of storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operand {
    /// Effective address, already wrapped as the addressing mode has it.
    pub address: u64,
    /// Access register that goes with it in access-register mode: the number of the base
    /// register.
    pub access_register: u8,
}

/// Storage as the CPU sees it that executes an instruction: logical addresses, translated and
/// checked as its PSW and control registers say.
///
/// On KVM this is KVM_S390_MEM_OP with KVM_S390_MEMOP_F_INJECT_EXCEPTION.
pub trait OperandAccess {
    /// Reads `data.len()` bytes, all or none.
    ///
    /// # Errors
    /// Where the guest may not read them; the implementation then sees to the interruption.
    fn read(&mut self, operand: Operand, data: &mut [u8]) -> Result<(), AccessException>;

    /// Writes `data`, all or nothing.
    ///
    /// # Errors
    /// Where the guest may not write there; the implementation then sees to the interruption.
    fn write(&mut self, operand: Operand, data: &[u8]) -> Result<(), AccessException>;

    /// Checks that `len` bytes could be written, and writes nothing.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    fn check_write(&mut self, operand: Operand, len: usize) -> Result<(), AccessException>;
}

/// An operand that the guest may not access. The program interruption (addressing, protection,
/// translation ...), with all that goes with it, is made by the [`OperandAccess`] that found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("access exception")]
pub struct AccessException;

/// What an instruction did to the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the CPU waits for it"]
pub enum Effect {
    /// Executed: set the condition code (PSW bits 18 and 19).
    ConditionCode(ConditionCode),
    /// Executed: set a general register; the condition code stays.
    Register {
        /// Number of the register.
        number: u8,
        /// Its new contents.
        value: u64,
    },
    /// Executed, by TEST PENDING INTERRUPTION with a zero address: store these words at the real
    /// locations 184, 188 and 192 (prefixing applies), and set condition code 1. Never seen where
    /// [`CssHost::take`](super::CssHost::take) answers `None`.
    InterruptionCode([u32; 3]),
    /// Suppressed: inject a program interruption.
    Program(ProgramException),
    /// Suppressed: the [`OperandAccess`] has seen to the program interruption.
    Access,
}

/// Condition code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum ConditionCode {
    /// Executed.
    Cc0 = 0,
    /// Status pending; or nothing to store.
    Cc1 = 1,
    /// Busy.
    Cc2 = 2,
    /// Not operational.
    Cc3 = 3,
}

/// A program exception that the channel subsystem recognises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum ProgramException {
    /// An operand that is not aligned.
    Specification = 0x06,
    /// An operand with bits that must not be as they are.
    Operand = 0x15,
}

impl ProgramException {
    /// Interruption code.
    pub fn code(self) -> u16 {
        self as u16
    }
}
