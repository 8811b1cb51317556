//! Control messages (section 5.3.6.2).

use virtio_device::ByteOrder;

use crate::dialogue::Notice;

/// A message of the guest that the device acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// The driver is ready to hear of ports, or failed to become so.
    DeviceReady(bool),
    /// The driver has set a port up, or failed to.
    PortReady(u32, bool),
    /// A port was opened or closed in the guest.
    PortOpen(u32, bool),
}

impl Request {
    /// The message in these bytes. `None` for those that only a device sends, and unknown ones.
    pub(crate) fn parse(bytes: [u8; HEADER], order: ByteOrder) -> Option<Self> {
        let [a, b, c, d, e, f, g, h] = bytes;
        let id = order.u32([a, b, c, d]);
        let on = order.u16([g, h]) != 0;
        match order.u16([e, f]) {
            DEVICE_READY => Some(Self::DeviceReady(on)),
            PORT_READY => Some(Self::PortReady(id, on)),
            PORT_OPEN => Some(Self::PortOpen(id, on)),
            _ => None,
        }
    }

    /// The number of the port that it is about, if that can be one.
    pub(crate) fn port(self) -> Option<u16> {
        match self {
            Self::DeviceReady(_) => None,
            Self::PortReady(id, _) | Self::PortOpen(id, _) => id.try_into().ok(),
        }
    }
}

/// The message that gives the guest `notice` of a port. `size` is columns, then rows.
pub(crate) fn encode(
    notice: Notice,
    port: u16,
    name: &str,
    [cols, rows]: [u16; 2],
    order: ByteOrder,
) -> Vec<u8> {
    let size = [order.u16_bytes(cols), order.u16_bytes(rows)];
    let (event, value, payload) = match notice {
        Notice::Added => (PORT_ADD, 1, &[][..]),
        Notice::Removed => (PORT_REMOVE, 1, &[][..]),
        Notice::Console => (CONSOLE_PORT, 1, &[][..]),
        Notice::Size => (RESIZE, 0, size.as_flattened()),
        Notice::Name => (PORT_NAME, 1, name.as_bytes()),
        Notice::Open(open) => (PORT_OPEN, u16::from(open), &[][..]),
    };
    let mut message = Vec::with_capacity(HEADER + payload.len());
    message.extend(order.u32_bytes(port.into()));
    message.extend(order.u16_bytes(event));
    message.extend(order.u16_bytes(value));
    message.extend(payload);
    message
}

/// Length of `struct virtio_console_control`: id, event, value.
pub(crate) const HEADER: usize = 8;
const DEVICE_READY: u16 = 0;
const PORT_ADD: u16 = 1;
const PORT_REMOVE: u16 = 2;
const PORT_READY: u16 = 3;
const CONSOLE_PORT: u16 = 4;
const RESIZE: u16 = 5;
const PORT_OPEN: u16 = 6;
const PORT_NAME: u16 = 7;
