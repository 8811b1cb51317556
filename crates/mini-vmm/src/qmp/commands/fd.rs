//! Descriptors that monitors pass: by name, and in sets.

use std::os::fd::{AsRawFd, OwnedFd};

use serde_json::{Value, json};

use crate::files::Passed;
use crate::qmp::arguments::Arguments;
use crate::qmp::error::QmpError;
use crate::vm::Machine;

pub(in crate::qmp) fn get(machine: &mut Machine, arguments: Arguments) -> Result<Value, QmpError> {
    let name = arguments.text("fdname");
    if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
        let desc = "Parameter 'fdname' expects a name not starting with a digit";
        return Err(QmpError::generic(desc));
    }
    let fd = received(machine)?;
    let named = &mut machine.backends.host.files.passed().named;
    if named.len() >= MOST && !named.contains_key(name) {
        return Err(QmpError::generic("too many descriptors passed"));
    }
    named.insert(name.to_owned(), fd);
    Ok(json!({}))
}

pub(in crate::qmp) fn close(
    machine: &mut Machine,
    arguments: Arguments,
) -> Result<Value, QmpError> {
    let name = arguments.text("fdname");
    let closed = machine.backends.host.files.take_named(name);
    closed
        .map_err(|_| QmpError::generic(format_args!("File descriptor named '{name}' not found")))?;
    Ok(json!({}))
}

pub(in crate::qmp) fn add(machine: &mut Machine, arguments: Arguments) -> Result<Value, QmpError> {
    let fd = received(machine)?;
    let number = fd.as_raw_fd();
    let opaque = arguments.optional("opaque").map(str::to_owned);
    let mut passed = machine.backends.host.files.passed();
    let set = arguments.given("fdset-id");
    let set = passed.sets.add(set, Passed { fd, opaque })?;
    Ok(json!({"fdset-id": set, "fd": number}))
}

pub(in crate::qmp) fn remove(
    machine: &mut Machine,
    arguments: Arguments,
) -> Result<Value, QmpError> {
    let set = arguments.number("fdset-id");
    let fd = arguments
        .given("fd")
        .map(|fd| i32::try_from(fd).unwrap_or(-1));
    let mut passed = machine.backends.host.files.passed();
    passed.sets.remove(set, fd).map_err(|_| {
        QmpError::generic(format_args!(
            "File descriptor named 'fdset-id:{set}' not found"
        ))
    })?;
    Ok(json!({}))
}

pub(in crate::qmp) fn query(machine: &mut Machine, _: Arguments) -> Result<Value, QmpError> {
    let passed = machine.backends.host.files.passed();
    let sets = passed.sets.iter().map(|(set, passed)| {
        let fds = passed.iter().map(|passed| {
            let mut fd = json!({"fd": passed.fd.as_raw_fd()});
            if let Some(opaque) = &passed.opaque {
                fd["opaque"] = opaque.as_str().into();
            }
            fd
        });
        json!({"fdset-id": set, "fds": fds.collect::<Vec<_>>()})
    });
    Ok(sets.collect())
}

/// The descriptor that came with the command, or before it on the same monitor.
fn received(machine: &mut Machine) -> Result<OwnedFd, QmpError> {
    let fd = machine.received.pop_front();
    fd.ok_or_else(|| QmpError::generic("No file descriptor supplied via SCM_RIGHTS"))
}

/// Descriptors that have a name.
const MOST: usize = 64;
