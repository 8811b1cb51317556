//! What is behind a subchannel.

use super::link::Link;
use super::{Command, Sense, SenseId, Transfer};

/// A control unit with its device: the far end of a subchannel.
///
/// All methods take `&self` and are called without any lock of the channel subsystem held, so that
/// they may lock what they like and call [`Attachment`](super::Attachment) back. A subchannel has
/// one program at a time, hence one `execute` at a time; the other methods may be called, from
/// other CPUs, while it runs.
pub trait ControlUnit: Send + Sync {
    /// What SENSE ID answers.
    fn sense_id(&self) -> SenseId;

    /// Executes one command of a channel program. NO-OPERATION, SENSE and SENSE ID do not come
    /// here, nor does TRANSFER IN CHANNEL.
    ///
    /// The unit need not look at lengths: a read or write of `transfer` that gets less than it
    /// wanted has come to the end of what the program named, or to an address that it may not
    /// use. The channel subsystem compares how much was transferred with the counts and reports
    /// incorrect length, a program check or a protection check as the program's flags ask for it,
    /// whatever the unit returns.
    ///
    /// It must not block. A command that has to wait returns [`Outcome::Pending`] with the
    /// completion from [`Transfer::defer`].
    fn execute(&self, command: Command, transfer: &mut Transfer<'_>) -> Outcome;

    /// The program or the subchannel was told something other than a command. If a command was
    /// deferred, its [`Completion`] has no effect any more; the unit may be given the next command
    /// before it has got rid of the old one.
    fn signal(&self, signal: Signal);

    /// DIAGNOSE 0x500, subcode 3, for this (enabled) subchannel: the driver has made buffers
    /// available in `queue`, a full register, and passes back `cookie`, what it got from the last
    /// such call for that queue, or 0. Returns the new cookie; `None` where there is no such
    /// queue.
    fn notify(&self, queue: u64, cookie: u64) -> Option<u64>;
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Channel end and device end: it is done.
    End,
    /// Channel end, device end and unit exception: done, and there was something unusual in it.
    UnitException,
    /// Channel end, device end and unit check: it failed. The sense bytes are kept for SENSE, or
    /// put into the interruption-response block where concurrent sense is enabled.
    UnitCheck(Sense),
    /// It ends later, by [`Completion::finish`]. Without a completion having been taken it is an
    /// equipment check.
    Pending,
}

/// What a control unit is told apart from commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// HALT SUBCHANNEL: the program has ended early.
    Halt,
    /// CLEAR SUBCHANNEL: the program has ended early, and the device is to forget about it.
    Clear,
    /// MODIFY SUBCHANNEL disabled the subchannel. (A virtio device forgets its revision.)
    Disable,
    /// The channel subsystem was reset: the device is to be as at power-on.
    Reset,
}

/// The promise to end a command that is [`Outcome::Pending`].
///
/// The data transfer is over when `execute` returns; what is left is the status. Dropped
/// unfinished, it is an equipment check, so no program hangs because a worker died.
#[must_use = "the guest's channel program waits for it"]
pub struct Completion {
    link: Link,
    serial: u64,
}

impl Completion {
    pub(super) fn new(link: Link, serial: u64) -> Self {
        Self { link, serial }
    }

    /// Ends the command and executes what is chained to it, on the calling thread and without
    /// blocking. Has no effect when the program was halted, cleared or its device detached
    /// meanwhile. [`Outcome::Pending`] counts as an equipment check.
    ///
    /// Take no lock with you that `execute` or [`CssHost::raise`](super::CssHost::raise) takes.
    pub fn finish(self, outcome: Outcome) {
        self.complete(outcome);
    }

    fn complete(&self, outcome: Outcome) {
        self.link
            .with(|channel| channel.complete(self.serial, outcome));
    }
}

/// After [`finish`](Completion::finish) the command is not the present one any more, and this has
/// no effect.
impl Drop for Completion {
    fn drop(&mut self) {
        self.complete(Outcome::UnitCheck(Sense::EQUIPMENT_CHECK));
    }
}
