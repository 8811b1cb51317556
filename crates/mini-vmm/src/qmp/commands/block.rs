//! Drives.

use serde_json::{Value, json};

use crate::options::{DriveOptions, KeyVals};
use crate::qmp::arguments::Arguments;
use crate::qmp::error::QmpError;
use crate::vm::Machine;

pub(in crate::qmp) fn add(machine: &mut Machine, arguments: Arguments) -> Result<Value, QmpError> {
    let kv = KeyVals::of("blockdev-add", arguments.into_pairs());
    let options = DriveOptions::blockdev(kv)?;
    if machine.backends.has_drive(&options.id) {
        return Err(QmpError::duplicate(&options.id));
    }
    machine.backends.add_drive(&options)?;
    Ok(json!({}))
}

pub(in crate::qmp) fn delete(
    machine: &mut Machine,
    arguments: Arguments,
) -> Result<Value, QmpError> {
    let id = arguments.text("node-name");
    machine
        .backends
        .remove_drive("blockdev-del", "node-name", id)?;
    Ok(json!({}))
}

pub(in crate::qmp) fn resize(
    machine: &mut Machine,
    arguments: Arguments,
) -> Result<Value, QmpError> {
    let given = arguments.optional("device");
    let id = given.or(arguments.optional("node-name"));
    let id = id.ok_or_else(|| QmpError::generic("Parameter 'device' is missing"))?;
    machine.backends.resize(id, arguments.number("size"))?;
    Ok(json!({}))
}
