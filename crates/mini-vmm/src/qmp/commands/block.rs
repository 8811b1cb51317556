//! Drives.

use serde_json::{Value, json};

use crate::options::{DriveOptions, KeyVals, Throttling, throttling};
use crate::qmp::arguments::{Arguments, Parameter};
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

/// The limits of a disk, and of all others in its group.
pub(in crate::qmp) fn throttle(
    machine: &mut Machine,
    arguments: Arguments,
) -> Result<Value, QmpError> {
    let drive = machine.drive_named(arguments.optional("device"), arguments.optional("id"))?;
    let id = drive.options.id.clone();
    if drive.is_zoned_device() {
        let desc = format_args!("Node '{id}' is a zoned device, which takes no limits");
        return Err(QmpError::generic(desc));
    }
    if let Throttling::Group(group) = &drive.options.throttling {
        let desc = format_args!("Node '{id}' has the limits of the throttle-group '{group}'");
        return Err(QmpError::generic(desc));
    }
    let group = arguments.optional("group").map(str::to_owned);
    let mut kv = KeyVals::of("block_set_io_throttle", arguments.into_pairs());
    let rates = throttling::rates(&mut kv, &limit)?;
    let drives = &mut machine.backends.drives;
    drives.throttle(&id, rates, group.as_deref());
    Ok(json!({}))
}

/// What the monitor calls a limit.
pub(super) fn limit(name: &str) -> String {
    let name = name.replace("-total", "").replace('-', "_");
    name.replace("_read", "_rd").replace("_write", "_wr")
}

#[rustfmt::skip]
pub(in crate::qmp) const THROTTLE: &[Parameter] = &[
    ("*device", "str"), ("*id", "str"), ("bps", "int"), ("bps_rd", "int"), ("bps_wr", "int"),
    ("iops", "int"), ("iops_rd", "int"), ("iops_wr", "int"), ("*bps_max", "int"),
    ("*bps_rd_max", "int"), ("*bps_wr_max", "int"), ("*iops_max", "int"), ("*iops_rd_max", "int"),
    ("*iops_wr_max", "int"), ("*bps_max_length", "int"), ("*bps_rd_max_length", "int"),
    ("*bps_wr_max_length", "int"), ("*iops_max_length", "int"), ("*iops_rd_max_length", "int"),
    ("*iops_wr_max_length", "int"), ("*iops_size", "int"), ("*group", "str"),
];
