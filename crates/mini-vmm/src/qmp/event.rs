//! Events: what the machine tells without being asked.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::arguments::Parameter;

/// An event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    name: &'static str,
    data: Value,
}

impl Event {
    /// An event without data.
    pub fn bare(name: &'static str) -> Self {
        Self::new(name, Value::Null)
    }

    /// An event with `data`, an object.
    pub fn new(name: &'static str, data: Value) -> Self {
        Self { name, data }
    }

    /// As it is sent, with the time of now.
    pub(super) fn to_json(&self) -> Value {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default();
        let mut event = json!({
            "timestamp": {"seconds": now.as_secs(), "microseconds": now.subsec_micros()},
            "event": self.name,
        });
        if !self.data.is_null() {
            event["data"] = self.data.clone();
        }
        event
    }
}

/// All events that there are, and what comes with them.
#[rustfmt::skip]
pub(super) const EVENTS: &[(&str, &[Parameter])] = &[
    ("BALLOON_CHANGE", &[("actual", "int")]),
    ("BLOCK_IO_ERROR", &[("qom-path", "str"), ("device", "str"), ("*node-name", "str"), ("operation", "str"), ("action", "str"), ("*nospace", "bool"), ("reason", "str")]),
    ("DEVICE_DELETED", &[("*device", "str"), ("path", "str")]),
    ("DEVICE_TRAY_MOVED", &[("device", "str"), ("id", "str"), ("tray-open", "bool")]),
    ("GUEST_PANICKED", &[("action", "str")]),
    ("NIC_RX_FILTER_CHANGED", &[("*name", "str"), ("path", "str")]),
    ("POWERDOWN", &[]),
    ("RESET", &[("guest", "bool"), ("reason", "str")]),
    ("RESUME", &[]),
    ("SHUTDOWN", &[("guest", "bool"), ("reason", "str")]),
    ("STOP", &[]),
    ("VSERPORT_CHANGE", &[("id", "str"), ("open", "bool")]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_in_order() {
        assert!(EVENTS.is_sorted_by_key(|(name, _)| name));
    }
}
