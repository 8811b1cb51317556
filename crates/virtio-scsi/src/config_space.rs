//! The layout of the configuration space (section 5.6.4).

use virtio_device::ConfigCell;

use crate::ScsiProps;

/// The configuration space of a device with these properties and `queues` request queues.
pub(crate) fn new(props: &ScsiProps, queues: u32) -> ConfigCell {
    let words = [
        queues,
        props.seg_max(),
        props.max_sectors,
        props.cmd_per_lun,
        EVENT as u32,
        DEFAULT_SENSE,
        DEFAULT_CDB,
    ];
    let mut bytes = words.map(u32::to_le_bytes).concat();
    // max_channel, max_target, max_lun.
    bytes.extend([0, 255].map(u16::to_le_bytes).concat());
    bytes.extend(u32::to_le_bytes(16383));
    ConfigCell::new(bytes).with_widths(&[4, 4, 4, 4, 4, 4, 4, 2, 2, 4])
}

/// Bytes of an event (section 5.6.6.3).
pub(crate) const EVENT: usize = 16;
/// What `sense_size` and `cdb_size` are on reset.
pub(crate) const DEFAULT_SENSE: u32 = 96;
pub(crate) const DEFAULT_CDB: u32 = 32;
pub(crate) const SENSE_SIZE: usize = 20;
pub(crate) const CDB_SIZE: usize = 24;
/// What a driver may set them to.
pub(crate) const MAX_SENSE: u32 = u16::MAX as u32;
pub(crate) const MAX_CDB: u32 = u8::MAX as u32;
