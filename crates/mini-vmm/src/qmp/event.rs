//! Events: what the machine tells without being asked.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

/// An event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    name: &'static str,
    data: Value,
}

impl Event {
    /// All events that there are.
    pub const NAMES: [&'static str; 6] = [
        "DEVICE_DELETED",
        "GUEST_PANICKED",
        "RESET",
        "RESUME",
        "SHUTDOWN",
        "STOP",
    ];

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
