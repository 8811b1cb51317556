//! What this VMM can do.

use serde_json::{Value, json};

use crate::devices;
use crate::objects;
use crate::options::MachineType;
use crate::qmp::arguments::{Arguments, OTHERS, Parameter, name_of};
use crate::qmp::command::COMMANDS;
use crate::qmp::error::QmpError;
use crate::qmp::event::EVENTS;
use crate::vm::Machine;

/// The version of this VMM, not of the one whose protocol this is.
pub(in crate::qmp) fn version() -> Value {
    let number = |text: &str| text.parse::<u64>().unwrap_or_default();
    json!({
        "qemu": {
            "major": number(env!("CARGO_PKG_VERSION_MAJOR")),
            "minor": number(env!("CARGO_PKG_VERSION_MINOR")),
            "micro": number(env!("CARGO_PKG_VERSION_PATCH")),
        },
        "package": concat!("mini-vmm ", env!("CARGO_PKG_VERSION")),
    })
}

pub(in crate::qmp) fn query_version(_: &mut Machine, _: Arguments) -> Result<Value, QmpError> {
    Ok(version())
}

pub(in crate::qmp) fn commands(_: &mut Machine, _: Arguments) -> Result<Value, QmpError> {
    Ok(COMMANDS
        .iter()
        .map(|row| json!({"name": row.name}))
        .collect())
}

pub(in crate::qmp) fn machines(_: &mut Machine, _: Arguments) -> Result<Value, QmpError> {
    let machines = MachineType::ALL.iter().map(|(name, kind)| {
        let virtual_hardware = *kind != MachineType::None;
        json!({
            "name": name,
            "cpu-max": if virtual_hardware { MOST_CPUS } else { 1 },
            "hotpluggable-cpus": false,
            "numa-mem-supported": false,
            "deprecated": false,
            "acpi": virtual_hardware,
        })
    });
    Ok(machines.collect())
}

/// Types of devices and of objects are the only ones there are.
pub(in crate::qmp) fn types(_: &mut Machine, arguments: Arguments) -> Result<Value, QmpError> {
    let wanted = arguments.optional("implements");
    let wants = |kind| wanted.is_none_or(|wanted| wanted == kind);
    let row = |name, parent| json!({"name": name, "parent": parent});
    let devices = devices::names().filter(|_| wants("device"));
    let objects = objects::names().filter(|_| wants("user-creatable"));
    let devices = devices.map(|name| row(name, "device"));
    Ok(devices
        .chain(objects.map(|name| row(name, "object")))
        .collect())
}

pub(in crate::qmp) fn device_properties(
    _: &mut Machine,
    arguments: Arguments,
) -> Result<Value, QmpError> {
    let name = arguments.text("typename");
    let described = devices::properties(name).map_err(|_| QmpError::no_device(name))?;
    let properties = described.into_iter().map(|property| {
        json!({
            "name": property.name,
            "type": "str",
            "description": format!("{} ({})", property.help, property.accepts),
            "default-value": property.value,
        })
    });
    Ok(properties.collect())
}

/// Commands and events, and what comes with them. What commands return is not described.
pub(in crate::qmp) fn schema(_: &mut Machine, _: Arguments) -> Result<Value, QmpError> {
    let commands = COMMANDS.iter().flat_map(|row| {
        let command = json!({
            "name": row.name,
            "meta-type": "command",
            "arg-type": type_of(row.name),
            "ret-type": "any",
            "allow-oob": false,
        });
        [command, object(row.name, row.parameters)]
    });
    let events = EVENTS.iter().flat_map(|(name, data)| {
        let event = json!({"name": name, "meta-type": "event", "arg-type": type_of(name)});
        [event, object(name, data)]
    });
    let builtin = |(name, json)| json!({"name": name, "meta-type": "builtin", "json-type": json});
    Ok(commands.chain(events).chain(BUILTIN.map(builtin)).collect())
}

/// The type of what comes with the command or event `name`.
fn object(name: &str, parameters: &[Parameter]) -> Value {
    let named = parameters.iter().filter(|(name, _)| *name != OTHERS);
    let members: Vec<_> = named.map(member).collect();
    json!({"name": type_of(name), "meta-type": "object", "members": members})
}

fn type_of(name: &str) -> String {
    format!("{name}-arg")
}

/// One that may be left out has a default, which is not named.
fn member((name, kind): &Parameter) -> Value {
    let mut member = json!({"name": name_of(name), "type": kind});
    if name.starts_with('*') {
        member["default"] = Value::Null;
    }
    member
}

/// Types that parameters have, and what they are in JSON.
const BUILTIN: [(&str, &str); 4] = [
    ("any", "value"),
    ("bool", "boolean"),
    ("int", "int"),
    ("str", "string"),
];
const MOST_CPUS: u8 = 254;
