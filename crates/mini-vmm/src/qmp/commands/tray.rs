//! Trays and what is in them.

use serde_json::{Value, json};
use virtio_blk::ErrorPolicy;

use crate::options::{Cache, DriveOptions, DriveSource, Throttling};
use crate::qmp::arguments::Arguments;
use crate::qmp::error::QmpError;
use crate::vm::{DriveName, Machine};

pub(in crate::qmp) fn eject(
    machine: &mut Machine,
    arguments: Arguments,
) -> Result<Value, QmpError> {
    machine.change_medium(name(&arguments), None, arguments.switch("force"))?;
    Ok(json!({}))
}

pub(in crate::qmp) fn open(machine: &mut Machine, arguments: Arguments) -> Result<Value, QmpError> {
    machine.open_tray(name(&arguments), arguments.switch("force"))?;
    Ok(json!({}))
}

pub(in crate::qmp) fn close(
    machine: &mut Machine,
    arguments: Arguments,
) -> Result<Value, QmpError> {
    machine.close_tray(name(&arguments))?;
    Ok(json!({}))
}

pub(in crate::qmp) fn remove(
    machine: &mut Machine,
    arguments: Arguments,
) -> Result<Value, QmpError> {
    machine.remove_medium(name(&arguments))?;
    Ok(json!({}))
}

pub(in crate::qmp) fn insert(
    machine: &mut Machine,
    arguments: Arguments,
) -> Result<Value, QmpError> {
    machine.insert_medium(name(&arguments), arguments.text("node-name"))?;
    Ok(json!({}))
}

pub(in crate::qmp) fn change(
    machine: &mut Machine,
    arguments: Arguments,
) -> Result<Value, QmpError> {
    let format = arguments.optional("format").unwrap_or("raw");
    if format != "raw" {
        return Err(QmpError::generic(format_args!("Unknown driver '{format}'")));
    }
    let drives = 0..u32::MAX;
    let mut ids = drives.map(|number| format!("medium{number}"));
    let id = ids.find(|id| machine.backends.drives.find(id).is_none());
    let options = DriveOptions {
        id: id.unwrap_or_default(),
        source: DriveSource::File(arguments.text("filename").into()),
        read_only: true,
        cache: Cache::WriteBack,
        discard: false,
        throttling: Throttling::Unlimited,
        errors: ErrorPolicy::default(),
        zoning: None,
        disk: false,
    };
    let force = arguments.switch("force");
    machine.change_medium(name(&arguments), Some(&options), force)?;
    Ok(json!({}))
}

fn name(arguments: &Arguments) -> DriveName<'_> {
    DriveName {
        id: arguments.optional("id"),
        device: arguments.optional("device"),
    }
}
