//! Power management capability (PCI Bus Power Management 1.2): states D0 and D3hot.

use crate::capability::Capability;
use crate::config::{ConfigSpace, Register};

/// The capability: version 3, D3hot loses the function's state unless `keeps_state`.
pub(crate) fn capability(keeps_state: bool) -> Capability {
    let no_soft_reset = if keeps_state { NO_SOFT_RESET } else { 0 };
    let control = Register::word(CONTROL)
        .value(no_soft_reset.into())
        .writable(POWER_STATE.into());
    Capability::new(ID, 8, &[Register::word(2).value(VERSION_3), control])
}

/// Power state of a function whose capability is at `at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PowerState {
    On,
    Off,
}

impl PowerState {
    pub(crate) fn of(config: &ConfigSpace, at: Option<u16>) -> Self {
        match at.map(|at| config.u16(at + CONTROL) & POWER_STATE) {
            Some(D3_HOT) => Self::Off,
            _ => Self::On,
        }
    }
}

/// Undoes a write of D1 or D2, which the capability does not offer: such a write is dropped.
pub(crate) fn refuse_unsupported(config: &mut ConfigSpace, at: u16, before: u16) {
    let state = config.u16(at + CONTROL) & POWER_STATE;
    if state != D0 && state != D3_HOT {
        config.set(at + CONTROL, &before.to_le_bytes());
    }
}

/// The control and status register.
pub(crate) fn control(config: &ConfigSpace, at: u16) -> u16 {
    config.u16(at + CONTROL)
}

/// Whether going from D3hot to D0 resets the function.
pub(crate) fn resets_on_wake(config: &ConfigSpace, at: u16) -> bool {
    control(config, at) & NO_SOFT_RESET == 0
}

const ID: u8 = 0x01;
const VERSION_3: u32 = 3;
const CONTROL: u16 = 4;
const POWER_STATE: u16 = 3;
const D0: u16 = 0;
const D3_HOT: u16 = 3;
const NO_SOFT_RESET: u16 = 1 << 3;
