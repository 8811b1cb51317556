//! Saved state of the transport.

use virtio_bus::CoreState;

/// State of a device on PCI: the core's, and the registers of the function.
///
/// Every restore treats it as untrusted input.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PciState {
    /// Version of this structure: [`PciState::VERSION`].
    pub version: u32,
    /// What is common to all transports, and the device.
    pub core: CoreState,
    /// Configuration space.
    pub config_space: Vec<u8>,
    /// MSI-X table; empty for a function without MSI-X.
    pub msix_table: Vec<u8>,
    /// MSI-X pending bits; empty for a function without MSI-X.
    pub msix_pending: Vec<u8>,
    /// ISR status.
    pub isr: u8,
    /// config_msix_vector.
    pub config_vector: u16,
    /// queue_msix_vector of each queue.
    pub queue_vectors: Vec<u16>,
    /// Whether the queues were enabled through the legacy interface.
    pub legacy: bool,
    /// device_feature_select.
    pub device_feature_select: u32,
    /// driver_feature_select.
    pub driver_feature_select: u32,
    /// queue_select, of both interfaces.
    pub queue_select: u16,
}

impl PciState {
    /// The version that this crate writes and reads.
    pub const VERSION: u32 = 1;
}
