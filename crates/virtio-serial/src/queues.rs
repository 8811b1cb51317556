//! Which queue is whose (section 5.3.2).

use virtio_device::QueueSize;

/// What a queue carries. Receiving and transmitting are the driver's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Bytes to the guest, of the port of this number.
    Receive(u16),
    /// Bytes of the guest, of the port of this number.
    Transmit(u16),
    /// Control messages to the guest.
    ControlReceive,
    /// Control messages of the guest.
    ControlTransmit,
}

impl Role {
    /// The role of the queue of this index, where all control queues are there.
    pub(crate) fn of(queue: u16) -> Self {
        match queue {
            CONTROL_RECEIVE => Self::ControlReceive,
            CONTROL_TRANSMIT => Self::ControlTransmit,
            0 | 1 => Self::data(0, queue),
            _ => Self::data(queue / 2 - 1, queue),
        }
    }

    fn data(port: u16, queue: u16) -> Self {
        match queue % 2 {
            0 => Self::Receive(port),
            _ => Self::Transmit(port),
        }
    }
}

/// Index of a port's receive queue. `port` is below [`MAX_PORTS`].
pub(crate) fn receive_queue(port: u16) -> u16 {
    match port {
        0 => 0,
        _ => 2 * port + 2,
    }
}

/// Index of a port's transmit queue. `port` is below [`MAX_PORTS`].
pub(crate) fn transmit_queue(port: u16) -> u16 {
    receive_queue(port) + 1
}

/// Sizes of all queues of a device with this many ports. One that can only have one port has no
/// control queues.
pub(crate) fn sizes(max_ports: u16) -> Vec<QueueSize> {
    if max_ports <= 1 {
        return vec![DATA_SIZE; 2];
    }
    let mut sizes = vec![DATA_SIZE; 2];
    sizes.extend([CONTROL_SIZE; 2]);
    sizes.resize(usize::from(max_ports) * 2 + 2, DATA_SIZE);
    sizes
}

/// Queue indices are limited to 1024 by the transports that QEMU's users know.
pub(crate) const MAX_PORTS: u16 = 511;
pub(crate) const CONTROL_RECEIVE: u16 = 2;
pub(crate) const CONTROL_TRANSMIT: u16 = 3;
const DATA_SIZE: QueueSize = QueueSize::of(128);
const CONTROL_SIZE: QueueSize = QueueSize::of(32);
