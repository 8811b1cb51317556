//! Executing a channel program: command after command, until it ends, suspends itself, waits for
//! its device or is stopped.
//!
//! Whoever runs a program has `executing` set, and no lock while the control unit works. Halt,
//! clear and reset are noticed between commands.

use super::ccw::{Ccw, CcwFormat};
use super::channel::Channel;
use super::orb::Orb;
use super::program::{Fetched, Program};
use super::scsw::Scsw;
use super::storage::Check;
use super::subchannel::{Ending, Parked, State};
use super::transfer::{Ended, Transfer};
use super::{Command, ControlUnit, Outcome, Sense, SenseId};

impl Channel {
    /// Runs `program` as far as it goes. The caller has set `executing`.
    pub(super) fn run(&self, program: Program) {
        let mut next = Some(program);
        while let Some(program) = next {
            next = self.step(program);
        }
    }

    /// A deferred command has ended.
    pub(super) fn complete(&self, serial: u64, outcome: Outcome) {
        let outcome = match outcome {
            Outcome::Pending => Outcome::UnitCheck(Sense::EQUIPMENT_CHECK),
            outcome => outcome,
        };
        let parked = self.update(|state| state.take_deferred(serial, outcome));
        if let Some((program, ended)) = parked
            && let Some(program) = self.end_command(program, Ended { outcome, ..ended })
        {
            self.run(program);
        }
    }

    /// One command. Gives the program back if it goes on.
    fn step(&self, mut program: Program) -> Option<Program> {
        let ccw = match program.command(&*self.shared.storage) {
            Ok(Fetched::Command(ccw)) => ccw,
            Ok(Fetched::Suspend) => return self.unless_stopped(program, State::suspend),
            Err(check) => {
                let ending = Ending::check(&program, check);
                return self.unless_stopped(program, |state, _| {
                    state.end(&ending);
                    None
                });
            }
        };
        let mut unit = None;
        let mut program = self.unless_stopped(program, |state, mut program| {
            unit = state.begin(&mut program, ccw);
            Some(program)
        })?;
        let ended = self.execute(unit.as_deref(), &mut program, ccw);
        self.end_command(program, ended)
    }

    fn execute(&self, unit: Option<&dyn ControlUnit>, program: &mut Program, ccw: Ccw) -> Ended {
        let link = self.link();
        let mut transfer = Transfer::new(&*self.shared.storage, program, &link, ccw);
        let outcome = match (ccw.command, unit) {
            (_, None) => Outcome::UnitCheck(Sense::INTERVENTION_REQUIRED),
            (Command::NO_OPERATION, _) => Outcome::End,
            (Command::SENSE, _) => {
                let sense = self.update(|state| std::mem::replace(&mut state.sense, Sense::NONE));
                transfer.write(&sense.0);
                Outcome::End
            }
            (Command::SENSE_ID, Some(unit)) => {
                transfer.write(&unit.sense_id().bytes());
                Outcome::End
            }
            (command, Some(unit)) => unit.execute(command, &mut transfer),
        };
        transfer.end(outcome)
    }

    /// What follows from how a command ended. Gives the program back if it goes on.
    fn end_command(&self, program: Program, ended: Ended) -> Option<Program> {
        self.unless_stopped(program, |state, program| state.end_command(program, ended))
    }

    /// Changes the state on behalf of `program`, unless it is to stop: then it has now.
    fn unless_stopped(
        &self,
        program: Program,
        change: impl FnOnce(&mut State, Program) -> Option<Program>,
    ) -> Option<Program> {
        let changed = self.update(|state| match state.must_stop(program.run) {
            true => Err(()),
            false => Ok(change(state, program)),
        });
        changed.unwrap_or_else(|()| {
            self.settle();
            None
        })
    }
}

impl State {
    /// The program whose command `serial` was deferred, to be gone on with. If that command is
    /// still being executed, its outcome is noted.
    fn take_deferred(&mut self, serial: u64, outcome: Outcome) -> Option<(Program, Ended)> {
        if self.serial != serial {
            return None;
        }
        if self.executing {
            self.early.get_or_insert(outcome);
            return None;
        }
        match self.parked.take() {
            Some(Parked::Deferred(mut program, ended)) => {
                program.refresh();
                self.serial += 1;
                self.executing = true;
                Some((program, ended))
            }
            other => {
                self.parked = other;
                None
            }
        }
    }

    fn end_command(&mut self, mut program: Program, mut ended: Ended) -> Option<Program> {
        if ended.interrupt {
            self.scsw.post_intermediate(Scsw::PROGRAM_INTERRUPTION);
        }
        if ended.outcome == Outcome::Pending {
            match self.early.take() {
                Some(outcome) => ended.outcome = outcome,
                None => {
                    self.accepted(&mut program);
                    self.parked = Some(Parked::Deferred(program, ended));
                    self.executing = false;
                    return None;
                }
            }
        }
        match ended.conclude(&program) {
            None => {
                self.accepted(&mut program);
                Some(program)
            }
            Some(ending) => {
                self.end(&ending);
                None
            }
        }
    }
}

impl Ended {
    /// The status that the program ends with, or `None` where the next command is chained.
    fn conclude(&self, program: &Program) -> Option<Ending> {
        let (unusual, sense) = match self.outcome {
            Outcome::End => (0, None),
            Outcome::UnitException => (Scsw::UNIT_EXCEPTION, None),
            Outcome::UnitCheck(sense) => (Scsw::UNIT_CHECK, Some(sense)),
            Outcome::Pending => (Scsw::UNIT_CHECK, Some(Sense::EQUIPMENT_CHECK)),
        };
        let mut subchannel = self.check.map_or(0, Check::status);
        if self.has_incorrect_length(&program.orb) {
            subchannel |= Scsw::INCORRECT_LENGTH;
        }
        let chained = self.flags & (Ccw::CHAIN_COMMAND | Ccw::CHAIN_DATA) == Ccw::CHAIN_COMMAND;
        if chained && (unusual, subchannel) == (0, 0) {
            return None;
        }
        Some(Ending {
            current: program.current,
            device: Scsw::CHANNEL_END | Scsw::DEVICE_END | unusual,
            subchannel,
            count: self.residual,
            sense,
        })
    }

    /// Whether the length is wrong, and the program did not say that it does not mind. A command
    /// that was rejected, and one that ends at once and transfers nothing, has no length; but a
    /// format-1 program may ask for the latter to be told.
    fn has_incorrect_length(&self, orb: &Orb) -> bool {
        let minds = self.flags & Ccw::CHAIN_DATA != 0 || self.flags & Ccw::SUPPRESS_LENGTH == 0;
        let exempt = self.immediate
            && (matches!(self.outcome, Outcome::UnitCheck(_))
                || orb.format == CcwFormat::Zero
                || orb.suppress_length);
        let wrong = self.residual != 0 || self.short;
        self.check.is_none() && wrong && minds && !exempt
    }
}

impl Ending {
    /// A program that cannot be gone on with: it ends before a command.
    fn check(program: &Program, check: Check) -> Self {
        Self {
            current: program.current,
            subchannel: check.status(),
            ..Self::default()
        }
    }
}

impl SenseId {
    /// With all eight command-information words, those that are not there being zero.
    fn bytes(&self) -> [u8; 40] {
        let mut bytes = [0; 40];
        bytes[0] = 0xff;
        bytes[1..3].copy_from_slice(&self.cu_type.to_be_bytes());
        bytes[3] = self.cu_model;
        bytes[4..6].copy_from_slice(&self.device_type.to_be_bytes());
        bytes[6] = self.device_model;
        for (to, ciw) in bytes[8..].chunks_exact_mut(4).zip(&self.ciws) {
            let [high, low] = ciw.count.to_be_bytes();
            to.copy_from_slice(&[0x40 | ciw.kind & 0x0f, ciw.command, high, low]);
        }
        bytes
    }
}
