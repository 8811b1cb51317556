//! The state of a subchannel.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::ccw::Ccw;
use super::pmcw::Pmcw;
use super::program::Program;
use super::scsw::{Control, Scsw, shown_address};
use super::transfer::Ended;
use super::{
    ConditionCode, ControlUnit, DeviceNumber, Interruption, Outcome, Sense, Signal, SubchannelId,
};

/// A subchannel: its names, and its state behind a lock.
pub(super) struct Subchannel {
    pub(super) id: SubchannelId,
    pub(super) device: DeviceNumber,
    state: Mutex<State>,
}

impl Subchannel {
    /// A subchannel without a device, which the guest does not see.
    pub(super) fn new(id: SubchannelId, device: DeviceNumber) -> Self {
        Self {
            id,
            device,
            state: Mutex::new(State::new(device)),
        }
    }

    pub(super) fn has_device(&self) -> bool {
        self.lock().unit.is_some()
    }

    /// A panic elsewhere in the VMM has left the state as consistent as any program could.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All that changes of a subchannel.
pub(super) struct State {
    pub(super) unit: Option<Arc<dyn ControlUnit>>,
    pub(super) pmcw: Pmcw,
    pub(super) scsw: Scsw,
    pub(super) sense: Sense,
    /// Somebody executes a program, or ends one: nobody else may begin.
    pub(super) executing: bool,
    /// Counts start functions and resets, so that a program knows when its time is over.
    pub(super) run: u64,
    /// Counts commands, so that a completion knows when it is too late.
    pub(super) serial: u64,
    /// The program that nobody executes at present.
    pub(super) parked: Option<Parked>,
    /// How the present command was completed while it was still being executed.
    pub(super) early: Option<Outcome>,
    /// Unsolicited status that waits for the program to end.
    pub(super) alert: bool,
    /// What the control unit was told about the halt or clear function that is pending.
    signalled: Option<Signal>,
}

/// A program that waits.
#[derive(Debug)]
pub(super) enum Parked {
    /// For RESUME SUBCHANNEL.
    Suspended(Program),
    /// For a [`Completion`](super::Completion).
    Deferred(Program, Ended),
}

impl State {
    fn new(device: DeviceNumber) -> Self {
        Self {
            unit: None,
            pmcw: Pmcw::new(device),
            scsw: Scsw::default(),
            sense: Sense::NONE,
            executing: false,
            run: 0,
            serial: 0,
            parked: None,
            early: None,
            alert: false,
            signalled: None,
        }
    }

    /// Back to what it is after power-on. Whoever adds a field has to say here what becomes of it.
    pub(super) fn reset(&mut self) {
        let Self {
            unit: _,
            pmcw,
            scsw,
            sense,
            executing: _,
            run,
            serial,
            parked,
            early,
            alert,
            signalled,
        } = self;
        *pmcw = Pmcw::new(pmcw.device);
        *scsw = Scsw::default();
        *sense = Sense::NONE;
        *run += 1;
        *serial += 1;
        *parked = None;
        *early = None;
        *alert = false;
        *signalled = None;
    }

    /// Condition code 3 where there is no device, or it is not enabled.
    pub(super) fn operational(&self) -> Result<(), ConditionCode> {
        match self.unit.is_some() && self.pmcw.is_enabled() {
            true => Ok(()),
            false => Err(ConditionCode::Cc3),
        }
    }

    /// Condition code 1 where status is pending, 2 where a function is in progress.
    pub(super) fn idle(&self) -> Result<(), ConditionCode> {
        if self.scsw.is_pending() {
            return Err(ConditionCode::Cc1);
        }
        match self.executing || self.scsw.control.any(Control::FUNCTION) {
            true => Err(ConditionCode::Cc2),
            false => Ok(()),
        }
    }

    /// The interruption that goes with status pending.
    pub(super) fn interruption(&self, id: SubchannelId) -> Interruption {
        Interruption::Subchannel {
            id,
            parameter: self.pmcw.parameter,
            isc: self.pmcw.isc(),
        }
    }

    /// Whether somebody wants the program `run` to stop.
    pub(super) fn must_stop(&self, run: u64) -> bool {
        self.run != run || self.stop_signal().is_some()
    }

    fn stop_signal(&self) -> Option<Signal> {
        let pending = |control| self.scsw.control.any(control);
        match (
            pending(Control::CLEAR_PENDING),
            pending(Control::HALT_PENDING),
        ) {
            (true, _) => Some(Signal::Clear),
            (false, true) => Some(Signal::Halt),
            (false, false) => None,
        }
    }

    /// What the control unit has to be told before the halt or clear function can be performed.
    pub(super) fn next_signal(&mut self) -> Option<(Arc<dyn ControlUnit>, Signal)> {
        let signal = self.stop_signal()?;
        let unit = self.unit.clone()?;
        let told = self.signalled.replace(signal) == Some(signal);
        (!told).then_some((unit, signal))
    }

    /// Performs the halt or clear function that is pending, if one is. Nobody executes then.
    pub(super) fn stop(&mut self) {
        match self.stop_signal() {
            Some(Signal::Clear) => self.perform_clear(),
            Some(_) => self.perform_halt(),
            None => {}
        }
        (self.executing, self.signalled, self.early) = (false, None, None);
    }

    fn perform_clear(&mut self) {
        self.pmcw.last_path_used = Pmcw::PATH;
        self.scsw.control = Control::CLEAR;
        self.post(Control::PENDING);
    }

    /// A program that had reached the device ends with ending status; otherwise there is none.
    fn perform_halt(&mut self) {
        let active = self.scsw.control.any(Control::DEVICE_ACTIVE);
        self.pmcw.last_path_used = Pmcw::PATH;
        self.scsw.subchannel = 0;
        self.scsw.control = self.scsw.control.without(Control::ACTIVITY);
        if active {
            self.scsw.device = Scsw::CHANNEL_END | Scsw::DEVICE_END;
            self.scsw.post_ending(false);
        }
        self.post(Control::PENDING);
    }

    /// A command begins: `current` is where its word is.
    pub(super) fn begin(
        &mut self,
        program: &mut Program,
        ccw: Ccw,
    ) -> Option<Arc<dyn ControlUnit>> {
        self.serial += 1;
        program.serial = self.serial;
        self.early = None;
        let active = Control::SUBCHANNEL_ACTIVE.with(Control::DEVICE_ACTIVE);
        self.scsw.control = self
            .scsw
            .control
            .without(Control::START_PENDING)
            .with(active);
        self.scsw.address = shown_address(program.current);
        if ccw.has(Ccw::INTERRUPT) {
            self.scsw.post_intermediate(Scsw::PROGRAM_INTERRUPTION);
        }
        self.unit.clone()
    }

    /// The first command was accepted, without having ended the program.
    pub(super) fn accepted(&mut self, program: &mut Program) {
        if std::mem::take(&mut program.initial_status) {
            self.scsw.flags |= Scsw::ZERO_CONDITION;
            self.scsw.post_intermediate(0);
        }
    }

    /// Suspends the program before the word at `current`; gives it back where it was resumed
    /// already.
    pub(super) fn suspend(&mut self, program: Program) -> Option<Program> {
        if self.scsw.control.any(Control::RESUME_PENDING) {
            self.scsw.control = self.scsw.control.without(Control::RESUME_PENDING);
            return Some(program);
        }
        self.scsw.control = self
            .scsw
            .control
            .without(Control::ACTIVITY)
            .with(Control::SUSPENDED);
        self.scsw.address = shown_address(program.current);
        if !program.orb.suppress_suspended {
            self.scsw.post_intermediate(0);
        }
        self.parked = Some(Parked::Suspended(program));
        self.executing = false;
        None
    }

    /// The start function ends with this status.
    pub(super) fn end(&mut self, ending: &Ending) {
        self.scsw.address = shown_address(ending.current);
        self.scsw.device = ending.device;
        self.scsw.subchannel |= ending.subchannel;
        self.scsw.count = ending.count;
        if let Some(sense) = ending.sense {
            self.sense = sense;
        }
        self.pmcw.last_path_used = Pmcw::PATH;
        self.scsw.post_ending(ending.is_alert());
        self.post(Control::PENDING);
        self.executing = false;
    }

    /// No path: condition code 3, deferred.
    pub(super) fn refuse_path(&mut self) {
        self.scsw.flags |= Scsw::DEFERRED_CONDITION;
        self.scsw.control = self.scsw.control.without(Control::ACTIVITY);
        self.post(Control::ALERT);
    }

    /// Status that is seen to by whoever fetches it: unsolicited status is not needed after it.
    fn post(&mut self, status: Control) {
        self.scsw.post(status);
        self.alert = false;
    }

    /// Unsolicited status.
    pub(super) fn alert(&mut self) {
        match self.operational().and_then(|()| self.idle()) {
            Ok(()) => self.post(Control::ALERT),
            Err(ConditionCode::Cc2) => self.alert = true,
            Err(_) => self.alert |= self.scsw.is_intermediate() && self.unit.is_some(),
        }
    }
}

/// The status that a program ends with.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ending {
    /// Address of the word that it ended in.
    pub(super) current: u32,
    pub(super) device: u8,
    pub(super) subchannel: u8,
    pub(super) count: u16,
    pub(super) sense: Option<Sense>,
}

impl Ending {
    /// Something unusual: a unit check or a check of the channel subsystem's.
    fn is_alert(&self) -> bool {
        self.device & Scsw::UNIT_CHECK != 0
            || self.subchannel & (Scsw::PROGRAM_CHECK | Scsw::CHANNEL_CONTROL_CHECK) != 0
    }
}
