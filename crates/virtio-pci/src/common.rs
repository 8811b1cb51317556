//! The common configuration structure (section 4.1.4.3).

use virtio_device::RingArea;

use crate::register::Row;

/// A register of the common configuration structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Common {
    DeviceFeatureSelect,
    DeviceFeature,
    DriverFeatureSelect,
    DriverFeature,
    ConfigMsixVector,
    NumQueues,
    DeviceStatus,
    ConfigGeneration,
    QueueSelect,
    QueueSize,
    QueueMsixVector,
    QueueEnable,
    QueueNotifyOff,
    QueueArea(RingArea),
    /// Of features that are not offered: queue_notif_config_data and the two of administration
    /// virtqueues.
    NotOffered,
    QueueReset,
}

/// All registers, by offset.
pub(crate) const REGISTERS: &[Row<Common>] = &[
    Row::read_write(0x00, 4, Common::DeviceFeatureSelect),
    Row::read_only(0x04, 4, Common::DeviceFeature),
    Row::read_write(0x08, 4, Common::DriverFeatureSelect),
    Row::read_write(0x0c, 4, Common::DriverFeature),
    Row::read_write(0x10, 2, Common::ConfigMsixVector),
    Row::read_only(0x12, 2, Common::NumQueues),
    Row::read_write(0x14, 1, Common::DeviceStatus),
    Row::read_only(0x15, 1, Common::ConfigGeneration),
    Row::read_write(0x16, 2, Common::QueueSelect),
    Row::read_write(0x18, 2, Common::QueueSize),
    Row::read_write(0x1a, 2, Common::QueueMsixVector),
    Row::read_write(0x1c, 2, Common::QueueEnable),
    Row::read_only(0x1e, 2, Common::QueueNotifyOff),
    Row::read_write(0x20, 8, Common::QueueArea(RingArea::Descriptor)),
    Row::read_write(0x28, 8, Common::QueueArea(RingArea::Driver)),
    Row::read_write(0x30, 8, Common::QueueArea(RingArea::Device)),
    Row::read_only(0x38, 2, Common::NotOffered),
    Row::read_write(0x3a, 2, Common::QueueReset),
    Row::read_only(0x3c, 2, Common::NotOffered),
    Row::read_only(0x3e, 2, Common::NotOffered),
];

#[cfg(test)]
#[path = "common_tests.rs"]
mod tests;
