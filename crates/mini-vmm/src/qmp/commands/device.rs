//! Devices and what they are connected to, coming and going.

use serde_json::{Value, json};

use crate::options::{DeviceOptions, KeyVals, ObjectOptions};
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
    let id = arguments.text("id");
    // A path is accepted as well.
    let id = id.strip_prefix("/machine/peripheral/").unwrap_or(id);
    machine.remove_device(id)?;
    Ok(json!({}))
}

pub(in crate::qmp) fn add_object(
    machine: &mut Machine,
    arguments: Arguments,
) -> Result<Value, QmpError> {
    let kv = KeyVals::of("object-add", arguments.into_pairs());
    let options = ObjectOptions::of(kv)?;
    machine.may_open(&options.filename)?;
    machine.is_free(&options.id)?;
    machine.backends.add_object(&options)?;
    Ok(json!({}))
}

pub(in crate::qmp) fn delete_object(
    machine: &mut Machine,
    arguments: Arguments,
) -> Result<Value, QmpError> {
    let id = arguments.text("id");
    machine.backends.remove_object("object-del", id)?;
    Ok(json!({}))
}
