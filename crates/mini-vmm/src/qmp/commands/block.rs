//! Drives.

use serde_json::{Value, json};

use crate::options::{DriveOptions, KeyVals};
use crate::qmp::arguments::Arguments;
use crate::qmp::error::QmpError;
use crate::vm::Machine;

pub(in crate::qmp) fn add(machine: &mut Machine, arguments: Arguments) -> Result<Value, QmpError> {
    let kv = KeyVals::of("blockdev-add", arguments.into_pairs());
    let options = DriveOptions::blockdev(kv)?;
    let backends = &mut machine.backends;
    if backends.drives.find(&options.id).is_some() {
        let id = &options.id;
        let desc = format!("Duplicate nodes with node-name='{id}'");
        return Err(QmpError::generic(desc));
    }
    backends.drives.add(&options, &backends.host.files)?;
    Ok(json!({}))
}

pub(in crate::qmp) fn delete(
    machine: &mut Machine,
    arguments: Arguments,
) -> Result<Value, QmpError> {
    let id = arguments.text("node-name");
    let drives = &mut machine.backends.drives;
    let drive = drives.find(id).ok_or_else(|| {
        QmpError::generic(format_args!("Failed to find node with node-name='{id}'"))
    })?;
    if drive.is_used() {
        return Err(QmpError::generic(format_args!("Node {id} is in use")));
    }
    if drives.is_below(id) {
        let desc = format_args!("Block device {id} is in use");
        return Err(QmpError::generic(desc));
    }
    drives.remove("blockdev-del", "node-name", id)?;
    Ok(json!({}))
}

pub(in crate::qmp) fn resize(
    machine: &mut Machine,
    arguments: Arguments,
) -> Result<Value, QmpError> {
    let (device, node) = (arguments.text("device"), arguments.text("node-name"));
    let drives = &mut machine.backends.drives;
    let mut given = [device, node].into_iter().filter(|id| !id.is_empty());
    let id = given.find(|id| drives.find(id).is_some());
    let id = id.ok_or_else(|| {
        QmpError::generic(format_args!(
            "Cannot find device='{device}' nor node-name='{node}'"
        ))
    })?;
    drives.resize(id, arguments.number("size"))?;
    Ok(json!({}))
}
