//! The memory balloon: its size, and the statistics of the guest around it.

use std::time::UNIX_EPOCH;

use serde_json::{Map, Value, json};
use virtio_balloon::{BalloonHandle, PAGE, Stat};

use super::qom::not_writable;
use crate::devices::{Control, Plugged};
use crate::qmp::arguments::Arguments;
use crate::qmp::error::QmpError;
use crate::vm::Machine;

/// Asks the guest to leave so many bytes of its memory to itself.
pub(in crate::qmp) fn balloon(
    machine: &mut Machine,
    arguments: Arguments,
) -> Result<Value, QmpError> {
    let wanted = arguments.number("value");
    if wanted == 0 {
        return Err(QmpError::generic("Parameter 'target' expects a size"));
    }
    let given_up = machine.config.memory.saturating_sub(wanted) / PAGE;
    let pages = u32::try_from(given_up).unwrap_or(u32::MAX);
    machine.balloon().ok_or_else(inactive)?.set_target(pages);
    Ok(json!({}))
}

pub(in crate::qmp) fn query(machine: &mut Machine, _: Arguments) -> Result<Value, QmpError> {
    let actual = machine.balloon_actual().ok_or_else(inactive)?;
    Ok(json!({"actual": actual}))
}

/// Properties that only a running device has: names and types.
pub(super) fn live_properties(device: &Plugged) -> &'static [(&'static str, &'static str)] {
    match device.control {
        Control::Balloon(_) => &[(STATS, "guest statistics"), (INTERVAL, "int")],
        _ => &[],
    }
}

/// The value of one of [`live_properties`].
pub(super) fn get(device: &Plugged, name: &str) -> Option<Value> {
    match (&device.control, name) {
        (Control::Balloon(handle), STATS) => Some(stats(handle)),
        (Control::Balloon(handle), INTERVAL) => Some(handle.interval().into()),
        _ => None,
    }
}

/// Sets one of [`live_properties`]; `None` if it is none that can be set.
pub(super) fn set(device: &Plugged, name: &str, value: &Value) -> Option<Result<(), QmpError>> {
    match (&device.control, name) {
        (Control::Balloon(handle), INTERVAL) => Some(set_interval(handle, value)),
        (Control::Balloon(_), STATS) => Some(Err(not_writable(device.driver, name))),
        _ => None,
    }
}

fn set_interval(handle: &BalloonHandle, value: &Value) -> Result<(), QmpError> {
    if value.as_i64().is_some_and(|seconds| seconds < 0) {
        return Err(QmpError::generic("timer value must be greater than zero"));
    }
    let seconds = value.as_u64().ok_or_else(|| {
        QmpError::generic(format_args!(
            "Invalid parameter type for '{INTERVAL}', expected: integer"
        ))
    })?;
    let seconds =
        u32::try_from(seconds).map_err(|_| QmpError::generic("timer value is too big"))?;
    Ok(handle.set_interval(seconds)?)
}

/// In QEMU's form: what the guest has not said is 2^64 - 1.
fn stats(handle: &BalloonHandle) -> Value {
    let report = handle.report();
    let named = Stat::ALL.iter().map(|&stat| {
        let value = report.stats.value(stat).unwrap_or(u64::MAX);
        (stat.name().to_owned(), value.into())
    });
    let since = report.at.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    json!({
        "stats": named.collect::<Map<_, _>>(),
        "last-update": since.map_or(0, |since| since.as_secs()),
    })
}

fn inactive() -> QmpError {
    QmpError::not_active("No balloon device has been activated")
}

const STATS: &str = "guest-stats";
const INTERVAL: &str = "guest-stats-polling-interval";
