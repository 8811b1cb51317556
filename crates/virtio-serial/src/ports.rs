//! The ports of a device, on their way between the device and its worker.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use virtio_device::{ByteOrder, Timer};

use crate::port_state::PortState;
use crate::roster::Change;

/// What outlives a worker.
pub(crate) struct Ports {
    pub(crate) by_number: BTreeMap<u16, PortState>,
    /// Ports that are gone, of which the driver has not heard.
    pub(crate) removed: BTreeSet<u16>,
    /// The driver wants to hear of ports.
    pub(crate) device_ready: bool,
    pub(crate) timer: Timer,
    /// How long a console may hold its guest up.
    pub(crate) patience: Duration,
}

impl Ports {
    /// Makes a change while nothing is on its way.
    pub(crate) fn change(&mut self, change: Change) {
        match change {
            Change::Add(number, state) => drop(self.by_number.insert(number, *state)),
            Change::Remove(number) => drop(self.remove(number)),
        }
    }

    /// Takes a port out; a driver that knows it will hear of that.
    pub(crate) fn remove(&mut self, number: u16) -> Option<PortState> {
        let port = self.by_number.remove(&number)?;
        if port.dialogue.announced {
            self.removed.insert(number);
        }
        Some(port)
    }
}

/// What the driver and the device agreed on, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Negotiated {
    /// VIRTIO_CONSOLE_F_MULTIPORT.
    pub(crate) multiport: bool,
    /// VIRTIO_CONSOLE_F_SIZE.
    pub(crate) size: bool,
    /// Of the numbers in control messages.
    pub(crate) order: ByteOrder,
}
