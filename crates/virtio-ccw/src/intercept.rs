//! What KVM on s390x reports of an I/O instruction, and what it wants back.
//!
//! KVM leaves SIE with intercept code 4 (KVM_EXIT_S390_SIEIC) for each instruction here, but for
//! TEST SUBCHANNEL, which has an exit of its own (KVM_EXIT_S390_TSCH), since KVM first takes the
//! interruption off its queue. TEST PENDING INTERRUPTION never comes. Any other way to catch these
//! instructions, such as an emulator, can fill in the same fields.
//!
//! ```text
//! KVM_EXIT_S390_SIEIC  -> Intercept     .decode() -> Instruction -> css.execute() -> Effect
//! KVM_EXIT_S390_TSCH   -> TschIntercept .execute(css, ..)                         -> Effect
//! ```

use crate::css::{ChannelSubsystem, Effect, Instruction, Interruption, OperandAccess};

/// An intercepted instruction: intercept code 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intercept {
    /// First halfword of the instruction.
    pub ipa: u16,
    /// Its second and third halfword.
    pub ipb: u32,
    /// General registers.
    pub gprs: [u64; 16],
    /// PSW mask: has the addressing mode.
    pub psw_mask: u64,
    /// Control register 6, for TEST PENDING INTERRUPTION only. 0 where that never comes.
    pub cr6: u64,
}

impl Intercept {
    /// The instruction; `None` where it is none of ours. The VMM then sees whether it is somebody
    /// else's, or injects an operation exception.
    pub fn decode(&self) -> Option<Instruction> {
        todo!()
    }
}

/// KVM_EXIT_S390_TSCH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TschIntercept {
    /// The interruption that was taken off the queue (`dequeued` and the fields before it).
    pub dequeued: Option<Interruption>,
    /// Second and third halfword of the instruction.
    pub ipb: u32,
    /// General registers.
    pub gprs: [u64; 16],
    /// PSW mask.
    pub psw_mask: u64,
}

impl TschIntercept {
    /// Executes TEST SUBCHANNEL. If it is suppressed, the interruption is raised once more.
    pub fn execute(&self, css: &ChannelSubsystem, storage: &mut dyn OperandAccess) -> Effect {
        let _ = (css, storage);
        todo!()
    }
}
