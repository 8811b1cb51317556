//! PCI identifiers of virtio devices (section 4.1.2), and how many vectors suit them.

use virtio_device::DeviceId;
use vm_pci::Identity;

use crate::interfaces::Interfaces;

/// Identifiers of device `id`; `None` where PCI has none for it.
pub(crate) fn identity(id: DeviceId, interfaces: Interfaces) -> Option<Identity> {
    let class = row(id).map_or(CLASS_OTHER, |row| row.class);
    let (device, revision, subsystem) = match interfaces {
        Interfaces::Modern => (modern_id(id)?, 1, MODERN_SUBSYSTEM),
        Interfaces::Transitional | Interfaces::Legacy => (transitional_id(id)?, 0, id.0),
    };
    Some(Identity {
        vendor: VENDOR,
        device,
        revision,
        class,
        subsystem_vendor: VENDOR,
        subsystem,
    })
}

/// Device ID of the transitional device; most virtio devices have none.
pub(crate) fn transitional_id(id: DeviceId) -> Option<u16> {
    row(id).map(|row| row.transitional)
}

/// Vectors that a device gets unless told otherwise: one for each queue and one for changes of the
/// configuration, but two for devices whose queues are many or idle.
pub(crate) fn default_vectors(id: DeviceId, queues: usize) -> usize {
    match id {
        DeviceId::CONSOLE | DeviceId::BALLOON => 2,
        _ => queues.saturating_add(1).min(MAX_VECTORS),
    }
}

/// The most vectors that MSI-X can have.
pub(crate) const MAX_VECTORS: usize = 2048;

fn modern_id(id: DeviceId) -> Option<u16> {
    (id.0 <= LAST_ID).then(|| MODERN_BASE + id.0)
}

fn row(id: DeviceId) -> Option<&'static Row> {
    TRANSITIONAL.iter().find(|row| row.id == id)
}

struct Row {
    id: DeviceId,
    transitional: u16,
    class: u32,
}

const fn device(id: DeviceId, transitional: u16, class: u32) -> Row {
    Row {
        id,
        transitional,
        class,
    }
}

/// Devices with a transitional ID, and the class code that QEMU gives each.
const TRANSITIONAL: &[Row] = &[
    device(DeviceId::NET, 0x1000, 0x02_00_00),
    device(DeviceId::BLOCK, 0x1001, 0x01_00_00),
    device(DeviceId::BALLOON, 0x1002, CLASS_OTHER),
    device(DeviceId::CONSOLE, 0x1003, 0x07_80_00),
    device(DeviceId::SCSI, 0x1004, 0x01_00_00),
    device(DeviceId::ENTROPY, 0x1005, CLASS_OTHER),
    device(DeviceId::P9, 0x1009, 0x00_02_00),
];

const VENDOR: u16 = 0x1af4;
const MODERN_BASE: u16 = 0x1040;
/// PCI device IDs of virtio end at 0x107f.
const LAST_ID: u16 = 0x3f;
/// Says that the device is no legacy one, which has its virtio device ID here.
const MODERN_SUBSYSTEM: u16 = 0x1100;
const CLASS_OTHER: u32 = 0x00_ff_00;
