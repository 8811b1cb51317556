//! The ports of a device, on their way between the device and its worker.

use std::collections::BTreeMap;
use std::time::Duration;

use virtio_device::ByteOrder;

use crate::port_state::PortState;
use crate::timer::Timer;

/// What outlives a worker.
pub(crate) struct Ports {
    pub(crate) by_number: BTreeMap<u16, PortState>,
    /// The driver wants to hear of ports.
    pub(crate) device_ready: bool,
    pub(crate) timer: Timer,
    /// How long a console may hold its guest up.
    pub(crate) patience: Duration,
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
