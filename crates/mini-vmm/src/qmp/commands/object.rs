//! Objects, coming and going.

use serde_json::{Map, Value, json};

use crate::options::{KeyVals, ObjectOptions};
use crate::qmp::arguments::Arguments;
use crate::qmp::error::QmpError;
use crate::vm::Machine;

use super::qom;

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
    let objects = &mut machine.backends.objects;
    let object = objects.find(id);
    let object =
        object.ok_or_else(|| QmpError::generic(format_args!("object '{id}' not found")))?;
    if object.is_used() {
        let desc = format_args!("object '{id}' is in use, can not be deleted");
        return Err(QmpError::generic(desc));
    }
    objects.remove("object-del", id)?;
    Ok(json!({}))
}

/// With the properties they have now.
pub(in crate::qmp) fn query_iothreads(
    machine: &mut Machine,
    _: Arguments,
) -> Result<Value, QmpError> {
    let threads = machine.backends.objects.iothreads();
    let rows = threads.map(|(id, object, thread)| {
        let number = thread.thread_id(id, &machine.workers)?;
        let properties = object.properties.iter();
        let mut row: Map<_, _> = properties
            .map(|property| (property.name.to_owned(), qom::value(property)))
            .collect();
        row.insert("id".to_owned(), id.as_str().into());
        row.insert("thread-id".to_owned(), number.as_raw_nonzero().get().into());
        Ok(Value::Object(row))
    });
    rows.collect()
}
