//! Devices, coming and going.

use serde_json::{Value, json};

use crate::options::{DeviceOptions, KeyVals};
use crate::qmp::arguments::Arguments;
use crate::qmp::error::QmpError;
use crate::vm::Machine;

pub(in crate::qmp) fn add(machine: &mut Machine, arguments: Arguments) -> Result<Value, QmpError> {
    let kv = KeyVals::of("device_add", arguments.into_pairs());
    machine.add_device(&DeviceOptions::of(kv)?)?;
    Ok(json!({}))
}

pub(in crate::qmp) fn delete(
    machine: &mut Machine,
    arguments: Arguments,
) -> Result<Value, QmpError> {
    machine.remove_device(arguments.text("id"))?;
    Ok(json!({}))
}
