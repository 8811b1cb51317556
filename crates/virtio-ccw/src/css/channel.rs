//! The functions of a subchannel (chapter 15): what the instructions ask for, apart from where
//! their operands are.

use std::sync::Arc;

use super::irb::{Irb, irb};
use super::link::Link;
use super::orb::Orb;
use super::pmcw::{Modification, Pmcw, Schib};
use super::program::Program;
use super::scsw::{Control, Scsw};
use super::subchannel::{Parked, State, Subchannel};
use super::subsystem::Shared;
use super::{ConditionCode, Sense, Signal};

/// A subchannel, and the subsystem that it is in.
pub(super) struct Channel {
    pub(super) shared: Arc<Shared>,
    pub(super) subchannel: Arc<Subchannel>,
}

impl Channel {
    pub(super) fn new(shared: Arc<Shared>, subchannel: Arc<Subchannel>) -> Self {
        Self { shared, subchannel }
    }

    pub(super) fn link(&self) -> Link {
        Link::new(&self.shared, &self.subchannel)
    }

    /// Changes the state. If it became status pending by that, or ceased to be, the host is told
    /// once the lock is released.
    pub(super) fn update<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let id = self.subchannel.id;
        let mut state = self.subchannel.lock();
        let before = state.scsw.is_pending();
        let result = change(&mut state);
        let after = state.scsw.is_pending();
        let interruption = state.interruption(id);
        drop(state);
        match (before, after) {
            (false, true) => self.shared.host.raise(interruption),
            (true, false) => self.shared.host.withdraw(id),
            _ => {}
        }
        result
    }

    /// STORE SUBCHANNEL; `None` where there is no device.
    pub(super) fn store(&self) -> Option<Schib> {
        let state = self.subchannel.lock();
        state.unit.as_ref()?;
        Some(state.pmcw.schib(state.scsw))
    }

    /// MODIFY SUBCHANNEL.
    pub(super) fn modify(&self, change: Modification) -> ConditionCode {
        let modified = self.update(|state| {
            let unit = state.unit.clone().ok_or(ConditionCode::Cc3)?;
            state.idle()?;
            let was_enabled = state.pmcw.is_enabled();
            state.pmcw.modify(change);
            Ok((was_enabled && !state.pmcw.is_enabled()).then_some(unit))
        });
        if let Ok(Some(unit)) = &modified {
            unit.signal(Signal::Disable);
        }
        code(modified)
    }

    /// START SUBCHANNEL.
    pub(super) fn start(&self, orb: Orb) -> ConditionCode {
        let started = self.update(|state| {
            state.operational()?;
            state.idle()?;
            state.pmcw.parameter = orb.parameter;
            state.pmcw.logical_path_mask = orb.path_mask;
            state.scsw = Scsw::start(&orb);
            if orb.path_mask & Pmcw::PATH == 0 {
                state.refuse_path();
                return Ok(None);
            }
            state.run += 1;
            state.executing = true;
            Ok(Some(Program::new(orb, state.run)))
        });
        self.run_started(started)
    }

    /// RESUME SUBCHANNEL. A program that has not come to its suspension yet will not stop there.
    pub(super) fn resume(&self) -> ConditionCode {
        let resumed = self.update(|state| {
            state.operational()?;
            if state.scsw.is_pending() {
                return Err(ConditionCode::Cc1);
            }
            let control = state.scsw.control;
            if control.function() != Control::START
                || control.any(Control::RESUME_PENDING)
                || state.scsw.flags & Scsw::SUSPEND == 0
            {
                return Err(ConditionCode::Cc2);
            }
            Ok(state.take_suspended())
        });
        self.run_started(resumed)
    }

    fn run_started(&self, started: Result<Option<Program>, ConditionCode>) -> ConditionCode {
        started.map_or_else(
            |code| code,
            |program| {
                if let Some(program) = program {
                    self.run(program);
                }
                ConditionCode::Cc0
            },
        )
    }

    /// CANCEL SUBCHANNEL: a program that waits before a command has never been.
    pub(super) fn cancel(&self) -> ConditionCode {
        code(self.update(|state| {
            state.operational()?;
            if state.scsw.is_pending() {
                return Err(ConditionCode::Cc1);
            }
            let suspended = matches!(state.parked, Some(Parked::Suspended(_)));
            if state.scsw.control.function() != Control::START || !suspended {
                return Err(ConditionCode::Cc2);
            }
            state.parked = None;
            state.run += 1;
            state.scsw = Scsw::default();
            if state.alert {
                state.alert();
            }
            Ok(())
        }))
    }

    /// HALT SUBCHANNEL. Performed by whoever executes the program, as soon as it may stop.
    pub(super) fn halt(&self) -> ConditionCode {
        let halted = self.update(|state| {
            state.operational()?;
            if state.scsw.is_pending() && !state.scsw.is_intermediate() {
                return Err(ConditionCode::Cc1);
            }
            if state.scsw.control.any(Control::HALT.with(Control::CLEAR)) {
                return Err(ConditionCode::Cc2);
            }
            let halt = Control::HALT.with(Control::HALT_PENDING);
            state.scsw.control = state.scsw.control.without(Control::STATUS).with(halt);
            Ok(state.abandon())
        });
        self.settle_if(halted)
    }

    /// CLEAR SUBCHANNEL. Performed by whoever executes the program, as soon as it may stop.
    pub(super) fn clear(&self) -> ConditionCode {
        let cleared = self.update(|state| {
            state.operational()?;
            state.scsw = Scsw {
                control: Control::CLEAR.with(Control::CLEAR_PENDING),
                ..Scsw::default()
            };
            (state.pmcw.path_operational, state.pmcw.last_path_used) = (0xff, 0);
            Ok(state.abandon())
        });
        self.settle_if(cleared)
    }

    fn settle_if(&self, stopped: Result<bool, ConditionCode>) -> ConditionCode {
        if stopped == Ok(true) {
            self.settle();
        }
        code(stopped)
    }

    /// Tells the control unit of the halt or clear function that is pending, and performs it. The
    /// caller is the one who executes.
    pub(super) fn settle(&self) {
        while let Some((unit, signal)) = self.update(|state| {
            let signal = state.next_signal();
            if signal.is_none() {
                state.stop();
            }
            signal
        }) {
            unit.signal(signal);
        }
    }

    /// TEST SUBCHANNEL: the block to store. [`Self::restore`] undoes it.
    pub(super) fn test(&self) -> Result<Fetched, ConditionCode> {
        self.update(|state| {
            state.operational()?;
            let (scsw, sense) = (state.scsw, state.concurrent_sense());
            if scsw.is_pending() {
                state.scsw = scsw.fetched();
            }
            Ok(Fetched {
                irb: irb(scsw, state.pmcw.last_path_used, sense.as_ref()),
                scsw,
                sense,
                run: state.run,
            })
        })
    }

    /// Puts back what could not be stored, unless the guest has gone on meanwhile.
    pub(super) fn restore(&self, fetched: &Fetched) {
        self.update(|state| {
            let went_on =
                state.run != fetched.run || state.executing || state.scsw != fetched.scsw.fetched();
            if fetched.scsw.is_pending() && !went_on {
                state.scsw = fetched.scsw;
                state.sense = fetched.sense.unwrap_or(state.sense);
            }
        });
    }

    /// Unsolicited status.
    pub(super) fn alert(&self) {
        self.update(State::alert);
    }
}

impl State {
    /// The program that RESUME SUBCHANNEL is to continue; without one it is resume pending.
    fn take_suspended(&mut self) -> Option<Program> {
        match self.parked.take() {
            Some(Parked::Suspended(mut program)) => {
                program.refresh();
                self.scsw.control = self
                    .scsw
                    .control
                    .without(Control::SUSPENDED)
                    .with(Control::START_PENDING);
                self.executing = true;
                Some(program)
            }
            other => {
                self.parked = other;
                self.scsw.control = self.scsw.control.with(Control::RESUME_PENDING);
                None
            }
        }
    }

    /// The program will not go on. True where nobody executes it, so that the caller now does.
    fn abandon(&mut self) -> bool {
        self.serial += 1;
        self.parked = None;
        !std::mem::replace(&mut self.executing, true)
    }

    /// The sense bytes, if they are to go with the status that is pending.
    fn concurrent_sense(&mut self) -> Option<Sense> {
        let check = self.scsw.is_pending() && self.scsw.device & Scsw::UNIT_CHECK != 0;
        (check && self.pmcw.concurrent_sense)
            .then(|| std::mem::replace(&mut self.sense, Sense::NONE))
    }
}

/// A status that TEST SUBCHANNEL has taken.
pub(super) struct Fetched {
    pub(super) irb: Irb,
    scsw: Scsw,
    sense: Option<Sense>,
    run: u64,
}

impl Fetched {
    pub(super) fn code(&self) -> ConditionCode {
        match self.scsw.is_pending() {
            true => ConditionCode::Cc0,
            false => ConditionCode::Cc1,
        }
    }
}

fn code<T>(result: Result<T, ConditionCode>) -> ConditionCode {
    match result {
        Ok(_) => ConditionCode::Cc0,
        Err(code) => code,
    }
}
