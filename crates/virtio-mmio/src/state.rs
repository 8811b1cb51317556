//! Saved state of a device on MMIO.

use virtio_bus::CoreState;

/// State of a device and of its transport's own registers.
///
/// Every restore treats it as untrusted input.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct MmioState {
    /// Version of this structure: [`MmioState::VERSION`].
    pub version: u32,
    /// What is common to all transports, and the device.
    pub core: CoreState,
    /// Whether the interface is the legacy one (version 1).
    pub legacy: bool,
    /// DeviceFeaturesSel.
    pub device_features_sel: u32,
    /// DriverFeaturesSel.
    pub driver_features_sel: u32,
    /// QueueSel.
    pub queue_sel: u32,
    /// InterruptStatus.
    pub interrupt_status: u32,
    /// GuestPageSize, in bytes (legacy).
    pub guest_page_size: u32,
    /// QueueAlign of each queue, in bytes (legacy).
    pub queue_align: Vec<u32>,
}

impl MmioState {
    /// The version that this crate writes and reads.
    pub const VERSION: u32 = 1;
}
