//! Saved state of the transport.

use virtio_bus::CoreState;

use crate::QueueIndicators;

/// State of a device on a subchannel, apart from the subchannel's own.
///
/// Every restore treats it as untrusted input.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct CcwState {
    /// Version of this structure: [`CcwState::VERSION`].
    pub version: u32,
    /// What is common to all transports, and the device.
    pub core: CoreState,
    /// The revision that the driver selected, if it has.
    pub revision: Option<u16>,
    /// How the driver wants to be told of used buffers.
    pub queue_indicators: QueueIndicators,
    /// Guest address of the 64-bit word for changes of the configuration, if the driver wants to
    /// be told of them.
    pub config_indicators: Option<u64>,
}

impl CcwState {
    /// The version that this crate writes and reads.
    pub const VERSION: u32 = 1;
}
