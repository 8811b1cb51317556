//! Registers of the legacy interface (section 4.1.4.10), at the start of BAR0; the device
//! configuration follows.

use crate::register::Row;

/// A register of the legacy interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Legacy {
    DeviceFeatures,
    DriverFeatures,
    QueueAddress,
    QueueSize,
    QueueSelect,
    QueueNotify,
    DeviceStatus,
    IsrStatus,
    ConfigMsixVector,
    QueueMsixVector,
}

/// The registers that there are while MSI-X is enabled, or is not.
pub(crate) fn registers(msix: bool) -> &'static [Row<Legacy>] {
    if msix {
        REGISTERS
    } else {
        REGISTERS.get(..WITHOUT_MSIX).unwrap_or_default()
    }
}

/// Where the device configuration starts while MSI-X is enabled, or is not.
pub(crate) const fn config_offset(msix: bool) -> u64 {
    if msix { 24 } else { 20 }
}

/// Where the driver writes the number of a queue to notify it.
pub(crate) const QUEUE_NOTIFY: u16 = 0x10;

/// Bytes in a page, the unit of QueueAddress and the alignment of the used ring.
pub(crate) const PAGE: u32 = 4096;

/// All registers, by offset; the last two are there with MSI-X only.
const REGISTERS: &[Row<Legacy>] = &[
    Row::read_only(0x00, 4, Legacy::DeviceFeatures),
    Row::read_write(0x04, 4, Legacy::DriverFeatures),
    Row::read_write(0x08, 4, Legacy::QueueAddress),
    Row::read_only(0x0c, 2, Legacy::QueueSize),
    Row::read_write(0x0e, 2, Legacy::QueueSelect),
    Row::read_write(QUEUE_NOTIFY as u64, 2, Legacy::QueueNotify),
    Row::read_write(0x12, 1, Legacy::DeviceStatus),
    Row::read_only(0x13, 1, Legacy::IsrStatus),
    Row::read_write(0x14, 2, Legacy::ConfigMsixVector),
    Row::read_write(0x16, 2, Legacy::QueueMsixVector),
];
const WITHOUT_MSIX: usize = 8;
