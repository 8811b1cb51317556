//! Commands of virtio over channel I/O (section 4.3.1.1 of the VIRTIO 1.4 specification).

/// Accepts 32 features.
pub const WRITE_FEAT: u8 = 0x11;
/// Asks for 32 features.
pub const READ_FEAT: u8 = 0x12;
/// Places a queue.
pub const SET_VQ: u8 = 0x13;
/// Writes the device's configuration.
pub const WRITE_CONF: u8 = 0x21;
/// Reads the device's configuration.
pub const READ_CONF: u8 = 0x22;
/// Sets the device status.
pub const WRITE_STATUS: u8 = 0x31;
/// Asks for the size of a queue.
pub const READ_VQ_CONF: u8 = 0x32;
/// Resets the device.
pub const VDEV_RESET: u8 = 0x33;
/// Places the classic indicators.
pub const SET_IND: u8 = 0x43;
/// Places the indicator of configuration changes.
pub const SET_CONF_IND: u8 = 0x53;
/// Reads the device status.
pub const READ_STATUS: u8 = 0x72;
/// Places the two-level indicators.
pub const SET_IND_ADAPTER: u8 = 0x73;
/// Chooses the revision.
pub const SET_VIRTIO_REV: u8 = 0x83;
