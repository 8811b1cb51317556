//! The registers that every function has, behind one lock: what a device embeds to become a
//! [`PciFunction`](crate::PciFunction).

use std::sync::{Arc, Mutex};

use crate::bar::BarMap;
use crate::builder::FunctionBuilder;
use crate::config::ConfigSpace;
use crate::error::ConfigError;
use crate::function::{Effects, FunctionInfo};
use crate::header::{
    COMMAND, COMMAND_INTX_DISABLE, COMMAND_IO, COMMAND_MASTER, COMMAND_MEMORY, Identity, STATUS,
    STATUS_INTERRUPT,
};
use crate::intx::{InterruptPin, Intx};
use crate::lock;
use crate::msix::{self, Msix, MsixState};
use crate::pcie;
use crate::pm::{self, PowerState};

/// Configuration space, BARs, MSI-X and INTx of one function.
///
/// Configuration space and the interrupt pin share one lock, so that the pin's level always follows
/// from the registers; [`Msix::trigger`] takes none.
pub struct FunctionCore {
    info: FunctionInfo,
    places: Places,
    msix: Option<Arc<Msix>>,
    state: Mutex<State>,
}

/// Snapshot of the registers of a function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FunctionState {
    /// All of configuration space.
    pub config: Vec<u8>,
    /// Table and pending bits, for a function with MSI-X.
    pub msix: Option<MsixState>,
    /// Whether the function asserts its interrupt.
    pub interrupt: bool,
}

impl FunctionCore {
    /// Starts the description of a function.
    pub fn builder(identity: Identity) -> FunctionBuilder {
        FunctionBuilder::new(identity)
    }

    /// What the function is.
    pub fn info(&self) -> FunctionInfo {
        self.info
    }

    /// Guest read of configuration space.
    pub fn read_config(&self, offset: u16, data: &mut [u8]) {
        lock(&self.state).config.read(offset, data);
    }

    /// Guest write of configuration space: stores what the masks let through and finds out what it
    /// means. Message control and the interrupt pin have followed when this returns.
    pub fn write_config(&self, offset: u16, data: &[u8]) -> Effects {
        let mut state = lock(&self.state);
        let (decoded, power) = (self.decode_of(&state), self.power(&state));
        let control = self
            .places
            .power
            .map_or(0, |at| pm::control(&state.config, at));
        state.config.write(offset, data);
        if let Some(at) = self.places.power {
            pm::refuse_unsupported(&mut state.config, at, control);
        }
        let reset = self.take_reset(&mut state, power);
        self.follow(&mut state);
        Effects {
            decode: reset || decoded != self.decode_of(&state),
            reset,
            ..Effects::NONE
        }
    }

    /// What the BARs decode: nothing for a space that the command register disables, or in D3hot.
    pub fn decode(&self) -> BarMap {
        self.decode_of(&lock(&self.state))
    }

    /// Whether the function may access memory and send messages (bus master enable).
    pub fn is_bus_master(&self) -> bool {
        self.command() & COMMAND_MASTER != 0
    }

    /// MSI-X, for a function that has it.
    pub fn msix(&self) -> Option<&Arc<Msix>> {
        self.msix.as_ref()
    }

    /// Pin that the function interrupts with.
    pub fn interrupt_pin(&self) -> Option<InterruptPin> {
        lock(&self.state).intx.as_ref().map(Intx::pin)
    }

    /// Sets the level of the function's interrupt. The status bit follows at once, the wire does
    /// unless the guest disabled INTx or uses MSI-X.
    pub fn set_interrupt(&self, asserted: bool) {
        let mut state = lock(&self.state);
        state.asserted = asserted;
        self.follow(&mut state);
    }

    /// Works on configuration space from the device's side, for registers that only the device
    /// knows. Neither [`Effects`] nor interrupts follow from what is changed here.
    pub fn with_config<T>(&self, work: impl FnOnce(&mut ConfigSpace) -> T) -> T {
        work(&mut lock(&self.state).config)
    }

    /// Works on configuration space where an interrupt follows from it: `work` returns whether it is
    /// asserted then. With MSI-X the change from not to asserted is a message, with `vector`.
    pub fn update(&self, vector: u16, work: impl FnOnce(&mut ConfigSpace) -> bool) {
        let mut state = lock(&self.state);
        let asserted = work(&mut state.config);
        let rose = asserted && !state.asserted;
        state.asserted = asserted;
        self.follow(&mut state);
        drop(state);
        let messages = self.msix.as_ref().filter(|msix| msix.enabled());
        if let Some(msix) = messages.filter(|_| rose) {
            msix.trigger(vector);
        }
    }

    /// All registers after reset, MSI-X off, interrupt deasserted.
    pub fn reset(&self) {
        let mut state = lock(&self.state);
        state.config.reset();
        state.asserted = false;
        if let Some(msix) = &self.msix {
            msix.reset();
        }
        self.follow(&mut state);
    }

    /// Takes a snapshot. The device must be quiet.
    pub fn save(&self) -> FunctionState {
        let state = lock(&self.state);
        let State {
            config,
            intx: _,
            asserted,
        } = &*state;
        FunctionState {
            config: config.save(),
            msix: self.msix.as_ref().map(|msix| msix.save()),
            interrupt: *asserted,
        }
    }

    /// Takes back a snapshot, which is untrusted input: only what a guest could have written counts.
    /// The bus has to look at the BARs again, see [`RootComplex::refresh`](crate::RootComplex::refresh).
    ///
    /// # Errors
    /// [`ConfigError::SavedState`] for the state of another function, which leaves this one in its
    /// state after reset.
    pub fn restore(&self, saved: &FunctionState) -> Result<(), ConfigError> {
        self.reset();
        let mut state = lock(&self.state);
        let msix = match (&self.msix, &saved.msix) {
            (Some(msix), Some(saved)) => msix.restore(saved),
            (None, None) => Ok(()),
            _ => Err(ConfigError::SavedState),
        };
        if let Err(error) = msix.and_then(|()| state.config.restore(&saved.config)) {
            drop(state);
            self.reset();
            return Err(error);
        }
        // A reset that a forged state asks for is not carried out later.
        self.take_reset(&mut state, PowerState::On);
        state.asserted = saved.interrupt;
        self.follow(&mut state);
        Ok(())
    }

    pub(crate) fn new(
        info: FunctionInfo,
        config: ConfigSpace,
        places: Places,
        msix: Option<Arc<Msix>>,
        intx: Option<Intx>,
    ) -> Self {
        let state = Mutex::new(State {
            config,
            intx,
            asserted: false,
        });
        Self {
            info,
            places,
            msix,
            state,
        }
    }

    pub(crate) fn command(&self) -> u16 {
        lock(&self.state).config.u16(COMMAND)
    }

    fn decode_of(&self, state: &State) -> BarMap {
        if self.power(state) == PowerState::Off {
            return BarMap::default();
        }
        let command = state.config.u16(COMMAND);
        let (io, memory) = (command & COMMAND_IO != 0, command & COMMAND_MEMORY != 0);
        self.info.bars.decode(&state.config, io, memory)
    }

    fn power(&self, state: &State) -> PowerState {
        PowerState::of(&state.config, self.places.power)
    }

    /// A function level reset was asked for, or the function came back from D3hot.
    fn take_reset(&self, state: &mut State, before: PowerState) -> bool {
        let flr = self
            .places
            .express
            .is_some_and(|at| pcie::take_function_reset(&mut state.config, at));
        let woke = before == PowerState::Off && self.power(state) == PowerState::On;
        let loses = |at| pm::resets_on_wake(&state.config, at);
        flr || woke && self.places.power.is_some_and(loses)
    }

    /// Makes message control and the interrupt pin follow the registers.
    fn follow(&self, state: &mut State) {
        let mut messages = false;
        if let (Some(msix), Some(at)) = (&self.msix, self.places.msix) {
            msix.set_control(state.config.u16(at + msix::CONTROL));
            messages = msix.enabled();
        }
        state
            .config
            .set_bits(STATUS, STATUS_INTERRUPT, state.asserted);
        let disabled = state.config.u16(COMMAND) & COMMAND_INTX_DISABLE != 0;
        let level = state.asserted && !disabled && !messages;
        if let Some(intx) = &mut state.intx {
            intx.drive(level);
        }
    }
}

/// Offsets of the capabilities whose registers have a meaning here.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Places {
    pub(crate) msix: Option<u16>,
    pub(crate) power: Option<u16>,
    pub(crate) express: Option<u16>,
}

struct State {
    config: ConfigSpace,
    intx: Option<Intx>,
    asserted: bool,
}
