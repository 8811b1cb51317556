//! What is supported: commands and task management functions (SPC-4 sections 6.34 and 6.35).

use crate::Sense;
use crate::command::Opcodes;
use crate::opcode::{OPCODES, Opcode};

/// REPORT SUPPORTED OPERATION CODES.
pub(crate) fn opcodes(wanted: Opcodes, cdrom: bool) -> Result<Vec<u8>, Sense> {
    let known = || OPCODES.iter().filter(|row| row.devices.include(cdrom));
    let Opcodes {
        timeouts,
        options,
        code,
        action,
        ..
    } = wanted;
    if options == 0 {
        return Ok(all(known(), timeouts));
    }
    let mut rows = known().filter(|row| row.code == code).peekable();
    let by_action = rows.peek().map(|row| row.action.is_some());
    let fits = match (options, by_action) {
        (1, Some(true)) | (2, Some(false)) => return Err(Sense::INVALID_CDB),
        (1..=3, _) => rows.find(|row| row.action.is_none_or(|own| u16::from(own) == action)),
        _ => return Err(Sense::INVALID_CDB),
    };
    Ok(one(fits, timeouts))
}

/// All functions that the host bus adapter here does: abort task, abort task set, clear task set,
/// logical unit reset, query task; then query task set and I_T nexus reset.
pub(crate) fn task_management() -> Vec<u8> {
    vec![0x80 | 0x40 | 0x10 | 0x08 | 0x01, 0x02 | 0x01, 0, 0]
}

/// The all_commands format.
fn all<'a>(rows: impl Iterator<Item = &'a Opcode>, timeouts: bool) -> Vec<u8> {
    let mut list = Vec::new();
    for row in rows {
        let with_action = u8::from(row.action.is_some());
        let flags = with_action | if timeouts { 0x02 } else { 0 };
        list.extend([row.code, 0, 0, row.action.unwrap_or(0), 0, flags, 0]);
        list.push(row.usage.len() as u8);
        list.extend(no_timeouts(timeouts));
    }
    let mut bytes = (list.len() as u32).to_be_bytes().to_vec();
    bytes.extend(list);
    bytes
}

/// The one_command format.
fn one(row: Option<&Opcode>, timeouts: bool) -> Vec<u8> {
    let Some(row) = row else {
        // SUPPORT: not supported.
        return vec![0, 0x01, 0, 0];
    };
    let mut bytes = vec![0, 0x03 | if timeouts { 0x80 } else { 0 }, 0];
    bytes.push(row.usage.len() as u8);
    bytes.extend(row.usage);
    bytes.extend(no_timeouts(timeouts));
    bytes
}

/// A command timeouts descriptor that says nothing.
fn no_timeouts(wanted: bool) -> impl Iterator<Item = u8> {
    const NOTHING: [u8; 12] = [0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    NOTHING.into_iter().filter(move |_| wanted)
}
