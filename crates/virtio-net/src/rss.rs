//! Receive-side scaling and hash reports (sections 5.1.6.5.7 and 5.1.6.5.8).

use crate::control::Data;
use crate::hash::{Key, MAX_KEY, TYPES};

/// How frames are hashed, and where they go by it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Steering {
    pub(crate) hash: Option<HashRules>,
    /// Where they go. The first pair if `None`, or wherever the line brings them.
    pub(crate) table: Option<Table>,
}

/// What is hashed, and with which key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HashRules {
    /// VIRTIO_NET_HASH_TYPE_* bits.
    pub(crate) types: u32,
    pub(crate) key: Key,
}

/// Pairs by the lower bits of the hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    /// As many as a power of two, from 1 on.
    pub(crate) pairs: Vec<u16>,
    /// Of frames without a hash.
    pub(crate) unclassified: u16,
}

impl Table {
    /// The pair that a frame of this hash goes to.
    pub(crate) fn pair(&self, hash: Option<u32>) -> u16 {
        let mask = self.pairs.len().wrapping_sub(1);
        let entry = hash.and_then(|hash| self.pairs.get(hash as usize & mask));
        entry.copied().unwrap_or(self.unclassified)
    }
}

/// Parses `struct virtio_net_rss_config`: how to steer, and how many pairs the driver sends on. `None`
/// where something is out of range for a device with `pairs` pairs.
pub(crate) fn parse_rss(data: &mut Data<'_>, pairs: u16) -> Option<(Steering, u16)> {
    let types = data.u32()?;
    let len = data.u16()?.checked_add(1)?;
    let unclassified = data.u16()?;
    if !len.is_power_of_two() || len > MAX_TABLE {
        return None;
    }
    let table = (0..len).map(|_| data.u16()).collect::<Option<Vec<_>>>()?;
    let sending = data.u16()?;
    let hash = parse_key(data, types)?;
    let good = |&pair: &u16| pair < pairs;
    let good = table.iter().all(good) && good(&unclassified) && (1..=pairs).contains(&sending);
    let steering = Steering {
        hash: Some(hash),
        table: Some(Table {
            pairs: table,
            unclassified,
        }),
    };
    good.then_some((steering, sending))
}

/// Parses `struct virtio_net_hash_config`.
pub(crate) fn parse_hash(data: &mut Data<'_>) -> Option<HashRules> {
    let types = data.u32()?;
    // Reserved.
    data.bytes(8)?;
    parse_key(data, types)
}

fn parse_key(data: &mut Data<'_>, types: u32) -> Option<HashRules> {
    let [len] = data.array()?;
    let given = data.bytes(len.into())?;
    let mut key = [0; MAX_KEY];
    let place = key.get_mut(..given.len())?;
    place.copy_from_slice(given);
    (types & !TYPES == 0).then_some(HashRules { types, key })
}

/// Entries of an indirection table at most.
pub(crate) const MAX_TABLE: u16 = 128;
