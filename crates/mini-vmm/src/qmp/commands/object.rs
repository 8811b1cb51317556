//! Objects, coming and going.

use serde_json::{Value, json};

use crate::options::{KeyVals, ObjectOptions};
use crate::qmp::arguments::Arguments;
use crate::qmp::error::QmpError;
use crate::vm::Machine;

pub(in crate::qmp) fn add(machine: &mut Machine, arguments: Arguments) -> Result<Value, QmpError> {
    let kv = KeyVals::of("object-add", arguments.into_pairs());
    let options = ObjectOptions::of(kv)?;
    if machine.backends.objects.find(&options.id).is_some() {
        return Err(QmpError::duplicate(&options.id));
    }
    machine.backends.add_object(&options)?;
    Ok(json!({}))
}

pub(in crate::qmp) fn delete(
    machine: &mut Machine,
    arguments: Arguments,
) -> Result<Value, QmpError> {
    let id = arguments.text("id");
    machine.backends.objects.remove("object-del", id)?;
    Ok(json!({}))
}
