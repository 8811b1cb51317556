//! Saved state of the core: what is common to all transports.

use virtio_device::{Features, RingPosition, SavedState};

use crate::Status;

/// State of a device apart from its transport's own registers.
///
/// Every restore treats it as untrusted input.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct CoreState {
    /// Version of this structure: [`CoreState::VERSION`].
    pub version: u32,
    /// Device status.
    pub status: Status,
    /// Features as the driver wrote them.
    pub driver_features: Features,
    /// Registers and position of each queue.
    pub queues: Vec<QueueState>,
    /// The device's own state.
    pub device: SavedState,
}

impl CoreState {
    /// The version that this crate writes and reads.
    pub const VERSION: u32 = 1;
}

/// Saved state of one queue.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct QueueState {
    /// Size register.
    pub size: u16,
    /// Guest address of the descriptor area.
    pub descriptor: u64,
    /// Guest address of the driver area.
    pub driver: u64,
    /// Guest address of the device area.
    pub device: u64,
    /// Whether the queue is enabled.
    pub enabled: bool,
    /// How far the ring has got; `None` for a queue that was not running.
    pub position: Option<RingPosition>,
}
