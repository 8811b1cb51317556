//! Saved state: what the driver has set, and the units that it knows.

use scsi_target::Lun;

use crate::Address;
use crate::config_space::{MAX_CDB, MAX_SENSE};

/// The state of a device, apart from its rings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Saved {
    pub(crate) sense_size: u32,
    pub(crate) cdb_size: u32,
    /// By address, ascending.
    pub(crate) units: Vec<(Address, [u8; UNIT])>,
}

impl Saved {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let sizes = [self.sense_size, self.cdb_size];
        let mut bytes = sizes.map(u32::to_le_bytes).concat();
        for (address, unit) in &self.units {
            let [low, high] = address.lun.number().to_le_bytes();
            bytes.extend([address.target, low, high]);
            bytes.extend(unit);
        }
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (sizes, rest) = bytes.split_first_chunk::<8>()?;
        let [s0, s1, s2, s3, c @ ..] = *sizes;
        let sense_size = u32::from_le_bytes([s0, s1, s2, s3]);
        let cdb_size = u32::from_le_bytes(c);
        let whole = rest.len() % (3 + UNIT) == 0;
        if !whole || sense_size > MAX_SENSE || cdb_size > MAX_CDB {
            return None;
        }
        let units = rest.chunks_exact(3 + UNIT).map(unit);
        Some(Self {
            sense_size,
            cdb_size,
            units: units.collect::<Option<_>>()?,
        })
    }
}

fn unit(bytes: &[u8]) -> Option<(Address, [u8; UNIT])> {
    let ([target, low, high], unit) = bytes.split_first_chunk()?;
    let lun = Lun::new(u16::from_le_bytes([*low, *high]))?;
    let address = Address {
        target: *target,
        lun,
    };
    Some((address, unit.try_into().ok()?))
}

/// Bytes of a unit's state.
const UNIT: usize = 16;
pub(crate) const KIND: &str = "virtio-scsi";
pub(crate) const VERSION: u32 = 1;
