//! Running, stopping and ending the machine.

use serde_json::{Value, json};

use crate::qmp::arguments::Arguments;
use crate::qmp::error::QmpError;
use crate::qmp::event::Event;
use crate::vm::{Cause, Machine, RunState};

pub(in crate::qmp) fn query_status(machine: &mut Machine, _: Arguments) -> Result<Value, QmpError> {
    let (running, status) = match machine.run_state() {
        RunState::Running => (true, "running"),
        RunState::Paused => (false, "paused"),
        RunState::IoError => (false, "io-error"),
        RunState::Prelaunch => (false, "prelaunch"),
    };
    Ok(json!({"running": running, "status": status}))
}

pub(in crate::qmp) fn stop(machine: &mut Machine, _: Arguments) -> Result<Value, QmpError> {
    machine.pause();
    Ok(json!({}))
}

pub(in crate::qmp) fn cont(machine: &mut Machine, _: Arguments) -> Result<Value, QmpError> {
    machine.resume().map_err(QmpError::generic)?;
    Ok(json!({}))
}

pub(in crate::qmp) fn quit(machine: &mut Machine, _: Arguments) -> Result<Value, QmpError> {
    machine.power_off(Cause::Quit);
    Ok(json!({}))
}

pub(in crate::qmp) fn system_reset(machine: &mut Machine, _: Arguments) -> Result<Value, QmpError> {
    machine.ask_reset();
    Ok(json!({}))
}

pub(in crate::qmp) fn system_powerdown(
    machine: &mut Machine,
    _: Arguments,
) -> Result<Value, QmpError> {
    machine.hardware.press_power_button();
    machine.tell(&Event::bare("POWERDOWN"));
    Ok(json!({}))
}
