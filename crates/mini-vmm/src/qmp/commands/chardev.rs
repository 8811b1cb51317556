//! Character devices, coming, changing and going.

use serde_json::{Map, Value, json};

use crate::options::{ChardevOptions, KeyVals};
use crate::qmp::arguments::Arguments;
use crate::qmp::base64;
use crate::qmp::error::QmpError;
use crate::vm::Machine;

pub(in crate::qmp) fn query(machine: &mut Machine, _: Arguments) -> Result<Value, QmpError> {
    let chardevs = machine.backends.named_chardevs();
    let chardevs = chardevs.map(|(label, chardev)| {
        json!({
            "label": label,
            "filename": chardev.description(),
            "frontend-open": chardev.is_connected(),
        })
    });
    Ok(chardevs.collect())
}

pub(in crate::qmp) fn add(machine: &mut Machine, arguments: Arguments) -> Result<Value, QmpError> {
    let options = options("chardev-add", &arguments)?;
    if machine.backends.find_chardev(&options.id).is_some() {
        let desc = format!("Chardev with id '{}' already exists", options.id);
        return Err(QmpError::generic(desc));
    }
    machine.backends.add_chardev("chardev-add", &options)?;
    answer(machine, &options.id)
}

pub(in crate::qmp) fn change(
    machine: &mut Machine,
    arguments: Arguments,
) -> Result<Value, QmpError> {
    let ChardevOptions { id, kind } = options("chardev-change", &arguments)?;
    let host = &machine.backends.host;
    find(machine, &id)?.change("chardev-change", &id, &kind, host)?;
    answer(machine, &id)
}

pub(in crate::qmp) fn remove(
    machine: &mut Machine,
    arguments: Arguments,
) -> Result<Value, QmpError> {
    let id = arguments.text("id");
    find(machine, id)?;
    machine.backends.remove_chardev("chardev-remove", id)?;
    Ok(json!({}))
}

pub(in crate::qmp) fn read_ring(
    machine: &mut Machine,
    arguments: Arguments,
) -> Result<Value, QmpError> {
    let size = usize::try_from(arguments.number("size")).unwrap_or(usize::MAX);
    let bytes = find(machine, arguments.text("device"))?.take_written(size);
    let bytes = bytes.ok_or_else(|| no_ring(&arguments))?;
    match arguments.optional("format") {
        Some("base64") => Ok(base64::encode(&bytes).into()),
        None | Some("utf8") => Ok(String::from_utf8_lossy(&bytes).into()),
        Some(other) => Err(no_format(other)),
    }
}

pub(in crate::qmp) fn write_ring(
    machine: &mut Machine,
    arguments: Arguments,
) -> Result<Value, QmpError> {
    let data = arguments.text("data");
    let bytes = match arguments.optional("format") {
        Some("base64") => base64::decode(data).ok_or_else(|| QmpError::generic("not base64"))?,
        None | Some("utf8") => data.as_bytes().to_vec(),
        Some(other) => return Err(no_format(other)),
    };
    let chardev = find(machine, arguments.text("device"))?;
    chardev.type_in(&bytes).ok_or_else(|| no_ring(&arguments))?;
    Ok(json!({}))
}

/// The terminal behind a character device has another size, which a device that offers one tells its
/// driver.
pub(in crate::qmp) fn resize(
    machine: &mut Machine,
    arguments: Arguments,
) -> Result<Value, QmpError> {
    let id = arguments.text("id");
    find(machine, id)?;
    let characters = |name: &str| {
        let count = u16::try_from(arguments.number(name));
        count.map_err(|_| QmpError::generic(format_args!("Parameter '{name}' is out of range")))
    };
    let (cols, rows) = (characters("cols")?, characters("rows")?);
    machine.set_console_size(id, cols, rows);
    Ok(json!({}))
}

/// A back-end as QAPI nests it, `{"type": .., "data": {.. "addr": {"type": .., "data": ..}}}`, in the
/// words of `-chardev`.
fn options(option: &str, arguments: &Arguments) -> Result<ChardevOptions, QmpError> {
    let mut kv = KeyVals::of(option, Vec::new());
    kv.put("id", arguments.text("id"));
    let backend = arguments.object("backend").ok_or_else(|| {
        QmpError::generic("Invalid parameter type for 'backend', expected: object")
    })?;
    let text = |from: &Map<String, Value>, name: &str| {
        from.get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    kv.put("backend", &text(backend, "type"));
    let data = backend.get("data").and_then(Value::as_object);
    for (name, value) in data.into_iter().flatten() {
        match (name.as_str(), value) {
            ("addr", Value::Object(addr)) => {
                let place = addr.get("data").and_then(Value::as_object);
                for (name, value) in place.into_iter().flatten() {
                    let name = if name == "str" { "fd" } else { name };
                    kv.put(name, &plain(value));
                }
            }
            ("out" | "device", value) => kv.put("path", &plain(value)),
            (name, value) => kv.put(name, &plain(value)),
        }
    }
    // A server of this form waits for nobody, where -chardev's does.
    if data.is_some_and(|data| data.contains_key("addr") && !data.contains_key("wait")) {
        kv.put("wait", "off");
        let server = data.and_then(|data| data.get("server"));
        if server.is_none() {
            kv.put("server", "on");
        }
    }
    Ok(ChardevOptions::of(kv)?)
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "on".to_owned(),
        Value::Bool(false) => "off".to_owned(),
        value => value.to_string(),
    }
}

fn find<'a>(
    machine: &'a Machine,
    id: &str,
) -> Result<&'a std::sync::Arc<crate::chardev::Chardev>, QmpError> {
    let chardev = machine.backends.find_chardev(id);
    chardev.ok_or_else(|| QmpError::generic(format_args!("Chardev '{id}' not found")))
}

/// A pseudo-terminal's name is not known elsewhere.
fn answer(machine: &Machine, id: &str) -> Result<Value, QmpError> {
    Ok(match find(machine, id)?.pty() {
        Some(name) => json!({"pty": name}),
        None => json!({}),
    })
}

fn no_ring(arguments: &Arguments) -> QmpError {
    let device = arguments.text("device");
    QmpError::generic(format_args!("{device} is not a ringbuf device"))
}

fn no_format(format: &str) -> QmpError {
    QmpError::generic(format_args!(
        "Parameter 'format' does not accept value '{format}'"
    ))
}
