//! INQUIRY without a page (SPC-4 section 6.6).

use crate::reply::ascii;
use crate::{Kind, Setup};

/// Standard INQUIRY data.
pub(crate) fn standard(setup: &Setup) -> Vec<u8> {
    let identity = &setup.identity;
    let removable = if setup.kind.is_removable() { 0x80 } else { 0 };
    let mut bytes = vec![
        device_type(setup.kind),
        removable,
        identity.version,
        // HISUP, and the format of this standard.
        0x12,
        STANDARD - 5,
        0,
        0,
        // CMDQUE
        0x02,
    ];
    bytes.extend(ascii::<8>(&identity.vendor));
    bytes.extend(ascii::<16>(&identity.product));
    bytes.extend(ascii::<4>(&identity.revision));
    bytes
}

/// Of a unit that is not there and cannot be.
pub(crate) fn no_unit() -> Vec<u8> {
    let mut bytes = vec![0; STANDARD.into()];
    // Peripheral qualifier 011b, no known type.
    (bytes[0], bytes[2], bytes[3]) = (0x7f, 5, 0x12);
    bytes[4] = STANDARD - 5;
    bytes
}

/// PERIPHERAL DEVICE TYPE.
pub(crate) fn device_type(kind: Kind) -> u8 {
    match kind {
        Kind::Disk { .. } => 0x00,
        Kind::Cdrom => 0x05,
    }
}

/// Bytes of standard INQUIRY data.
const STANDARD: u8 = 36;
