//! Events (section 5.6.6.3): what a driver hears of without having asked.

use std::collections::VecDeque;

use virtio_device::{ByteOrder, Features};

use crate::Address;
use crate::config_space::EVENT;

/// Something to tell the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// VIRTIO_SCSI_T_TRANSPORT_RESET, VIRTIO_SCSI_EVT_RESET_RESCAN: a unit has come.
    Added(Address),
    /// VIRTIO_SCSI_T_TRANSPORT_RESET, VIRTIO_SCSI_EVT_RESET_REMOVED: a unit has gone.
    Removed(Address),
    /// VIRTIO_SCSI_T_PARAM_CHANGE: a unit has changed, as this additional sense code and qualifier
    /// say.
    Changed(Address, u16),
    /// VIRTIO_SCSI_T_NO_EVENT: only that others were missed.
    None,
}

/// Events that wait for a buffer. At most [`MOST`]: a driver that gives no buffers misses some,
/// and is told that it did.
#[derive(Debug, Default)]
pub(crate) struct Events {
    waiting: VecDeque<Event>,
    missed: bool,
    /// What the driver has negotiated; nothing while there is none.
    wanted: Features,
}

impl Events {
    /// Keeps `event` for a driver that has negotiated `feature`.
    pub(crate) fn push(&mut self, feature: Features, event: Event) {
        match self.waiting.len() < MOST {
            _ if !self.wanted.contains(feature) => {}
            true => self.waiting.push_back(event),
            false => self.missed = true,
        }
    }

    /// The next one, and whether some were missed before it.
    pub(crate) fn next(&mut self) -> Option<(Event, bool)> {
        let missed = std::mem::take(&mut self.missed);
        let event = self.waiting.pop_front();
        event
            .or(missed.then_some(Event::None))
            .map(|event| (event, missed))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && !self.missed
    }

    /// One that was taken has not reached the driver.
    pub(crate) fn lose(&mut self) {
        self.missed = true;
    }

    /// A driver that has negotiated `wanted` is there, or goes on.
    pub(crate) fn want(&mut self, wanted: Features) {
        self.wanted = wanted;
    }

    /// There is no driver any more.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Event {
    /// `struct virtio_scsi_event`.
    pub(crate) fn encode(self, missed: bool, order: ByteOrder) -> [u8; EVENT] {
        let (event, address, reason) = match self {
            Self::Added(address) => (TRANSPORT_RESET, Some(address), RESCAN),
            Self::Removed(address) => (TRANSPORT_RESET, Some(address), REMOVED),
            // ASC in the lowest byte, then ASCQ.
            Self::Changed(address, code) => (PARAM_CHANGE, Some(address), code.swap_bytes().into()),
            Self::None => (NO_EVENT, None, 0),
        };
        let event = event | if missed { MISSED } else { 0 };
        let mut bytes = [0; EVENT];
        let (kind, rest) = bytes.split_at_mut(4);
        let (lun, cause) = rest.split_at_mut(8);
        kind.copy_from_slice(&order.u32_bytes(event));
        lun.copy_from_slice(&address.map_or([0; 8], Address::encode));
        cause.copy_from_slice(&order.u32_bytes(reason));
        bytes
    }
}

const MOST: usize = 64;
const NO_EVENT: u32 = 0;
const TRANSPORT_RESET: u32 = 1;
const PARAM_CHANGE: u32 = 3;
/// VIRTIO_SCSI_T_EVENTS_MISSED.
const MISSED: u32 = 1 << 31;
const RESCAN: u32 = 1;
const REMOVED: u32 = 2;
