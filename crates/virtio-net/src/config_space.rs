//! The configuration space (section 5.1.4) as a table.

use virtio_device::{ConfigCell, Features};

use crate::{Mac, features as f, hash, rss};

/// A little-endian field of the configuration space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) offset: usize,
    /// In bytes.
    pub(crate) width: usize,
}

impl Field {
    const fn at(offset: usize, width: usize) -> Self {
        Self { offset, width }
    }

    const fn end(self) -> usize {
        self.offset + self.width
    }

    fn put(self, bytes: &mut [u8], value: impl Into<u64>) {
        if let Some(field) = bytes.get_mut(self.offset..self.end()) {
            let value = value.into().to_le_bytes();
            field
                .iter_mut()
                .zip(value)
                .for_each(|(to, from)| *to = from);
        }
    }
}

/// What is in it at the start, besides facts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contents {
    pub(crate) mac: Mac,
    pub(crate) pairs: u16,
    pub(crate) mtu: u16,
    /// In Mbit/s; `u32::MAX` where unknown.
    pub(crate) speed: u32,
    /// 0 for half, 1 for full, 0xff where unknown.
    pub(crate) duplex: u8,
}

/// A configuration space that, like QEMU's, ends with the last field that a feature makes valid.
pub(crate) fn new(features: Features, contents: &Contents) -> ConfigCell {
    let ends = ENDS.iter().filter(|(bits, _)| features.intersects(*bits));
    let mut bytes = vec![0; ends.map(|(_, field)| field.end()).max().unwrap_or(0)];
    let to = &mut bytes[..];
    set_mac(to, contents.mac);
    STATUS.put(to, LINK_UP);
    MAX_VIRTQUEUE_PAIRS.put(to, contents.pairs);
    MTU.put(to, contents.mtu);
    SPEED.put(to, contents.speed);
    DUPLEX.put(to, contents.duplex);
    RSS_MAX_KEY_SIZE.put(to, hash::MAX_KEY as u64);
    RSS_MAX_INDIRECTION_TABLE_LENGTH.put(to, rss::MAX_TABLE);
    SUPPORTED_HASH_TYPES.put(to, hash::TYPES);
    ConfigCell::new(bytes).with_widths(WIDTHS)
}

/// Puts an address into the space.
pub(crate) fn set_mac(bytes: &mut [u8], mac: Mac) -> bool {
    let Some(field) = bytes.first_chunk_mut() else {
        return false;
    };
    std::mem::replace(field, mac.0) != mac.0
}

/// Sets or clears a bit of `status`; true if that changed it.
pub(crate) fn set_status(config: &ConfigCell, bit: u16, on: bool) -> bool {
    config.update(|bytes| {
        let Some(status) = bytes.get_mut(STATUS.offset) else {
            return false;
        };
        let before = *status;
        let bit = bit as u8;
        *status = if on { before | bit } else { before & !bit };
        *status != before
    })
}

/// Whether a bit of `status` is set.
pub(crate) fn has_status(config: &ConfigCell, bit: u16) -> bool {
    let mut status = [0; 2];
    config.read(STATUS.offset as u64, &mut status);
    let there = config.len() >= STATUS.end();
    there && u16::from_le_bytes(status) & bit != 0
}

/// VIRTIO_NET_S_LINK_UP.
pub(crate) const LINK_UP: u16 = 1;
/// VIRTIO_NET_S_ANNOUNCE.
pub(crate) const ANNOUNCE: u16 = 2;
pub(crate) const MAC: Field = Field::at(0, 6);
const STATUS: Field = Field::at(6, 2);
const MAX_VIRTQUEUE_PAIRS: Field = Field::at(8, 2);
const MTU: Field = Field::at(10, 2);
const SPEED: Field = Field::at(12, 4);
const DUPLEX: Field = Field::at(16, 1);
const RSS_MAX_KEY_SIZE: Field = Field::at(17, 1);
const RSS_MAX_INDIRECTION_TABLE_LENGTH: Field = Field::at(18, 2);
const SUPPORTED_HASH_TYPES: Field = Field::at(20, 4);
const ENDS: &[(Features, Field)] = &[
    (f::MAC, MAC),
    (f::STATUS, STATUS),
    (f::MQ.with(f::RSS), MAX_VIRTQUEUE_PAIRS),
    (f::MTU, MTU),
    (f::SPEED_DUPLEX, DUPLEX),
    (f::RSS.with(f::HASH_REPORT), SUPPORTED_HASH_TYPES),
];
/// Bytes of each field in turn; an address is six of one.
const WIDTHS: &[u8] = &[1, 1, 1, 1, 1, 1, 2, 2, 2, 4, 1, 1, 2, 4];
