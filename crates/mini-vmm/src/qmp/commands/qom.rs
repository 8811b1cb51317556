//! QEMU's tree of objects, as far as there is something behind its paths: `/objects` has those of
//! `-object`, `/machine/peripheral` the devices that have an identifier,
//! `/machine/peripheral-anon` the others.

use serde_json::{Value, json};
use virtio_blk::Rates;
use virtio_device::props::PropHelp;

use crate::backends::path_of;
use crate::devices::Plugged;
use crate::objects::Object;
use crate::options::throttling;
use crate::qmp::arguments::Arguments;
use crate::qmp::error::QmpError;
use crate::vm::Machine;

use super::balloon;

/// A place in the tree.
enum Node<'a> {
    /// It has children of these names and types.
    Container(Vec<(String, String)>),
    Object(&'a Object),
    Device(&'a Plugged),
}

pub(in crate::qmp) fn list(machine: &mut Machine, arguments: Arguments) -> Result<Value, QmpError> {
    let row = |name: &str, kind: &str| json!({"name": name, "type": kind});
    Ok(match find(machine, arguments.text("path"))? {
        Node::Container(children) => children
            .iter()
            .map(|(name, kind)| row(name, &format!("child<{kind}>")))
            .collect(),
        node => std::iter::once(row("type", "string"))
            .chain(properties(&node).iter().map(|it| row(it.name, kind(it))))
            .chain(live(&node).iter().map(|(name, kind)| row(name, kind)))
            .collect(),
    })
}

pub(in crate::qmp) fn get(machine: &mut Machine, arguments: Arguments) -> Result<Value, QmpError> {
    let (path, name) = (arguments.text("path"), arguments.text("property"));
    let node = find(machine, path)?;
    if let Node::Device(device) = &node
        && let Some(value) = balloon::get(device, name)
    {
        return Ok(value);
    }
    match (&node, name) {
        (Node::Container(_), "type") => Ok("container".into()),
        (Node::Object(object), "type") => Ok(object.kind.into()),
        (Node::Object(object), LIMITS) if let Some(group) = object.throttle_group() => {
            Ok(limits(group.rates()))
        }
        (Node::Device(device), "type") => Ok(device.driver.into()),
        _ => property(&node, path, name).map(value),
    }
}

/// As in QEMU a device stays what it was made, but for what only a running one has.
pub(in crate::qmp) fn set(machine: &mut Machine, arguments: Arguments) -> Result<Value, QmpError> {
    let (path, name) = (arguments.text("path"), arguments.text("property"));
    let node = find(machine, path)?;
    if let Node::Device(device) = &node
        && let Some(done) = balloon::set(device, name, arguments.value("value"))
    {
        return done.map(|()| json!({}));
    }
    match node {
        _ if name == "type" => Err(not_writable(path, name)),
        Node::Container(_) => Err(not_found(path, name)),
        Node::Object(_) if name == LIMITS => set_limits(machine, arguments),
        Node::Object(_) => set_object(machine, &arguments),
        Node::Device(device) => {
            property(&Node::Device(device), path, name)?;
            Err(realized(device, name))
        }
    }
}

/// What is there to be read.
pub(super) fn not_writable(whose: &str, name: &str) -> QmpError {
    QmpError::generic(format_args!("Property '{whose}.{name}' is not writable"))
}

fn not_found(whose: &str, name: &str) -> QmpError {
    QmpError::generic(format_args!("Property '{whose}.{name}' not found"))
}

fn realized(device: &Plugged, name: &str) -> QmpError {
    let whose = match &device.id {
        Some(id) => format!("device '{id}'"),
        None => "anonymous device".to_owned(),
    };
    let kind = device.driver;
    QmpError::generic(format_args!(
        "Attempt to set property '{name}' on {whose} (type '{kind}') after it was realized"
    ))
}

fn set_object(machine: &mut Machine, arguments: &Arguments) -> Result<Value, QmpError> {
    let (path, name) = (arguments.text("path"), arguments.text("property"));
    let object = object_mut(machine, path)?;
    if !object
        .properties
        .iter()
        .any(|property| property.name == name)
    {
        return Err(not_found(path, name));
    }
    object.set(path, name, &arguments.option("value"))?;
    Ok(json!({}))
}

/// Some limits of a throttle group, all at once.
fn set_limits(machine: &mut Machine, arguments: Arguments) -> Result<Value, QmpError> {
    let path = arguments.text("path").to_owned();
    let object = object_mut(machine, &path)?;
    if object.throttle_group().is_none() {
        return Err(not_found(&path, LIMITS));
    }
    let pairs = arguments.into_pairs().into_iter();
    let limits = pairs.filter_map(|(key, value)| {
        let name = key.strip_prefix("value.")?;
        Some((format!("{LIMITS}.{name}"), value))
    });
    object.set_limits(&path, &limits.collect::<Vec<_>>())?;
    Ok(json!({}))
}

fn limits(rates: Rates) -> Value {
    let named = throttling::named(rates).into_iter();
    Value::Object(named.map(|(name, value)| (name, value.into())).collect())
}

fn object_mut<'a>(machine: &'a mut Machine, path: &str) -> Result<&'a mut Object, QmpError> {
    let id = path.rsplit('/').find(|part| !part.is_empty());
    let object = id.and_then(|id| machine.backends.objects.find_mut(id));
    object.ok_or_else(|| QmpError::no_device(path))
}

/// What is at `path`, or has this identifier.
fn find<'a>(machine: &'a Machine, path: &str) -> Result<Node<'a>, QmpError> {
    let (objects, devices) = (&machine.backends.objects, &machine.hardware.devices);
    let device_at = |path: &str| devices.iter().find(|device| device.is_at(path));
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
    let node = match parts.as_slice() {
        _ if !path.starts_with('/') => {
            let object = objects.find(path).map(Node::Object);
            object.or_else(|| device_at(&path_of(path)).map(Node::Device))
        }
        [] => Some(containers(&["machine", "objects"])),
        ["machine"] => Some(containers(&["peripheral", "peripheral-anon"])),
        ["objects"] => Some(Node::Container(
            objects
                .iter()
                .map(|(id, object)| (id.clone(), object.kind.to_owned()))
                .collect(),
        )),
        ["machine", parent @ ("peripheral" | "peripheral-anon")] => {
            Some(Node::Container(devices_below(parent, devices)))
        }
        ["objects", id] => objects.find(id).map(Node::Object),
        parts => device_at(&format!("/{}", parts.join("/"))).map(Node::Device),
    };
    node.ok_or_else(|| QmpError::no_device(path))
}

/// Names and types of the devices that are in `/machine/PARENT`.
fn devices_below(parent: &str, devices: &[Plugged]) -> Vec<(String, String)> {
    let path = format!("/machine/{parent}/");
    let rows = devices.iter().filter_map(|device| {
        let name = device.path.strip_prefix(&path)?;
        Some((name.to_owned(), device.driver.to_owned()))
    });
    rows.collect()
}

fn containers(names: &[&str]) -> Node<'static> {
    let named = names
        .iter()
        .map(|name| ((*name).to_owned(), "container".to_owned()));
    Node::Container(named.collect())
}

fn properties<'a>(node: &Node<'a>) -> &'a [PropHelp] {
    match node {
        Node::Container(_) => &[],
        Node::Object(object) => &object.properties,
        Node::Device(device) => &device.properties,
    }
}

/// Properties that are not those it was made with.
fn live(node: &Node<'_>) -> &'static [(&'static str, &'static str)] {
    match node {
        Node::Device(device) => balloon::live_properties(device),
        _ => &[],
    }
}

fn property<'a>(node: &Node<'a>, path: &str, name: &str) -> Result<&'a PropHelp, QmpError> {
    let found = properties(node)
        .iter()
        .find(|property| property.name == name);
    found.ok_or_else(|| not_found(path, name))
}

/// The type of a property, in QEMU's words.
fn kind(property: &PropHelp) -> &'static str {
    match property.accepts {
        "on|off" => "bool",
        accepts if accepts.starts_with("a number") => "int",
        _ => "string",
    }
}

/// What a property has, in JSON.
pub(super) fn value(property: &PropHelp) -> Value {
    let text = property.value.as_str();
    match kind(property) {
        "bool" => (text == "on").into(),
        "int" => text.parse::<i128>().map_or_else(|_| text.into(), number),
        _ => text.into(),
    }
}

fn number(value: i128) -> Value {
    let unsigned = u64::try_from(value).map(Value::from);
    unsigned.unwrap_or_else(|_| i64::try_from(value).unwrap_or_default().into())
}

/// The property that has all limits of a throttle group.
const LIMITS: &str = "limits";
