//! The control queue (section 5.1.6.5): commands, their data, and what they do.

use virtio_device::{ByteOrder, Features};

use crate::coalesce::Coalesce;
use crate::config_space::{ANNOUNCE, set_mac, set_status};
use crate::filter::{Modes, Table};
use crate::negotiated::Negotiated;
use crate::rules::Rules;
use crate::shared::Shared;
use crate::{Mac, Offloads, features as f, rss};

/// The data of a command, read from the front.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Data<'a> {
    bytes: &'a [u8],
    order: ByteOrder,
}

/// What a command answers besides its acknowledgement.
pub(crate) type Answer = [u8; 8];

/// Does command `command` of class `class`. `None`: VIRTIO_NET_ERR, and nothing has changed.
pub(crate) fn execute(
    shared: &Shared,
    negotiated: &Negotiated,
    (class, command): (u8, u8),
    mut data: Data<'_>,
) -> Option<Option<Answer>> {
    let data = &mut data;
    let has = |feature: Features| negotiated.has(feature).then_some(());
    let filter = |change: Option<()>| change.map(|()| shared.filter_changed());
    match (class, command) {
        (RX, 0..=1) => has(f::CTRL_RX).and_then(|()| filter(set_mode(shared, command, data))),
        (RX, 2..=5) => has(f::CTRL_RX_EXTRA).and_then(|()| filter(set_mode(shared, command, data))),
        (MAC, 0) => has(f::CTRL_RX).and_then(|()| filter(set_table(shared, data))),
        (MAC, 1) => has(f::CTRL_MAC_ADDR).and_then(|()| filter(set_address(shared, data))),
        (VLAN, 0..=1) => {
            has(f::CTRL_VLAN).and_then(|()| filter(set_vlan(shared, command == 0, data)))
        }
        (ANNOUNCED, 0) => has(f::GUEST_ANNOUNCE).map(|()| {
            set_status(&shared.config, ANNOUNCE, false);
        }),
        (QUEUES, 0) => has(f::MQ).and_then(|()| set_pairs(shared, data)),
        (QUEUES, 1) => has(f::RSS).and_then(|()| set_rss(shared, data)),
        (QUEUES, 2) => has(f::HASH_REPORT).and_then(|()| set_hash(shared, data)),
        (OFFLOADS, 0) => {
            has(f::CTRL_GUEST_OFFLOADS).and_then(|()| set_offloads(shared, negotiated, data))
        }
        (COALESCING, 0..=1) => {
            has(f::NOTF_COAL).and_then(|()| coalesce_all(shared, usize::from(command == 0), data))
        }
        (COALESCING, 2) => has(f::VQ_NOTF_COAL).and_then(|()| coalesce_one(shared, data)),
        (COALESCING, 3) => {
            return has(f::VQ_NOTF_COAL)
                .and_then(|()| coalescing_of(shared, data))
                .map(Some);
        }
        _ => None,
    }
    .map(|()| None)
}

/// VIRTIO_NET_CTRL_RX_PROMISC and its sisters.
fn set_mode(shared: &Shared, command: u8, data: &mut Data<'_>) -> Option<()> {
    let on = data.switch()?;
    let mut rules = shared.change();
    let Modes {
        promisc,
        allmulti,
        alluni,
        nomulti,
        nouni,
        nobcast,
    } = &mut rules.filter.modes;
    let modes = [promisc, allmulti, alluni, nomulti, nouni, nobcast];
    *modes.into_iter().nth(command.into())? = on;
    Some(())
}

/// VIRTIO_NET_CTRL_MAC_TABLE_SET: two tables, unicast and multicast, each after its length.
fn set_table(shared: &Shared, data: &mut Data<'_>) -> Option<()> {
    let (unicast, multicast) = (data.macs()?, data.macs()?);
    let mut rules = shared.change();
    (rules.filter.unicast, rules.filter.multicast) = (unicast, multicast);
    Some(())
}

/// VIRTIO_NET_CTRL_MAC_ADDR_SET.
fn set_address(shared: &Shared, data: &mut Data<'_>) -> Option<()> {
    let mac = Mac(data.array()?);
    shared.change().filter.mac = mac;
    shared.config.update(|bytes| set_mac(bytes, mac));
    Some(())
}

/// VIRTIO_NET_CTRL_VLAN_ADD and _DEL.
fn set_vlan(shared: &Shared, there: bool, data: &mut Data<'_>) -> Option<()> {
    let vlan = data.u16()?;
    let set = shared.change().filter.vlans.set(vlan, there);
    set.then_some(())
}

/// VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET.
fn set_pairs(shared: &Shared, data: &mut Data<'_>) -> Option<()> {
    let pairs = data
        .u16()
        .filter(|pairs| (1..=shared.pairs).contains(pairs))?;
    let mut rules = shared.change();
    use_pairs(shared, &mut rules, pairs)?;
    // Automatic steering takes the place of a table.
    rules.steering.table = None;
    Some(())
}

/// VIRTIO_NET_CTRL_MQ_RSS_CONFIG.
fn set_rss(shared: &Shared, data: &mut Data<'_>) -> Option<()> {
    let (steering, pairs) = rss::parse_rss(data, shared.pairs)?;
    let mut rules = shared.change();
    use_pairs(shared, &mut rules, pairs)?;
    rules.steering = steering;
    Some(())
}

/// VIRTIO_NET_CTRL_MQ_HASH_CONFIG.
fn set_hash(shared: &Shared, data: &mut Data<'_>) -> Option<()> {
    let hash = rss::parse_hash(data)?;
    shared.change().steering.hash = Some(hash);
    Some(())
}

/// VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET: at most what was negotiated.
fn set_offloads(shared: &Shared, negotiated: &Negotiated, data: &mut Data<'_>) -> Option<()> {
    let taken = Features::from_bits(data.u64()?.into());
    let possible = negotiated.features & Offloads::ALL.driver_features();
    if !possible.contains(taken) {
        return None;
    }
    let mut rules = shared.change();
    if shared.facts.header {
        let offloads = Offloads::of_driver(taken);
        shared.backend.set_offloads(offloads).ok()?;
    }
    rules.taken = Some(taken);
    Some(())
}

/// VIRTIO_NET_CTRL_NOTF_COAL_TX_SET and _RX_SET.
fn coalesce_all(shared: &Shared, direction: usize, data: &mut Data<'_>) -> Option<()> {
    let to = data.coalesce()?;
    shared.change().coalescing.set_all(direction, to);
    wake_all(shared);
    Some(())
}

/// VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET.
fn coalesce_one(shared: &Shared, data: &mut Data<'_>) -> Option<()> {
    let (queue, _reserved) = (data.u16()?, data.u16()?);
    let to = data.coalesce()?;
    let mut rules = shared.change();
    let place = rules.coalescing.queues.get_mut(usize::from(queue));
    *place.filter(|_| shared.is_enabled(queue))? = to;
    drop(rules);
    shared.wake(queue / 2);
    Some(())
}

/// VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET.
fn coalescing_of(shared: &Shared, data: &mut Data<'_>) -> Option<Answer> {
    let queue = data.u16().filter(|&queue| shared.is_enabled(queue))?;
    let of = shared.rules().coalescing.of(queue);
    let (packets, usecs) = (
        data.order.u32_bytes(of.max_packets),
        data.order.u32_bytes(of.max_usecs),
    );
    let mut answer = Answer::default();
    let bytes = packets.into_iter().chain(usecs);
    answer
        .iter_mut()
        .zip(bytes)
        .for_each(|(to, from)| *to = from);
    Some(answer)
}

fn use_pairs(shared: &Shared, rules: &mut Rules, pairs: u16) -> Option<()> {
    shared.backend.set_lines(pairs).ok()?;
    rules.pairs = pairs;
    wake_all(shared);
    Some(())
}

/// Workers look at the rules again.
fn wake_all(shared: &Shared) {
    (0..shared.pairs).for_each(|pair| shared.wake(pair));
}

impl<'a> Data<'a> {
    pub(crate) fn new(bytes: &'a [u8], order: ByteOrder) -> Self {
        Self { bytes, order }
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.bytes.split_first_chunk()?;
        self.bytes = rest;
        Some(*array)
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.bytes.split_at_checked(len)?;
        self.bytes = rest;
        Some(bytes)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(|bytes| self.order.u16(bytes))
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(|bytes| self.order.u32(bytes))
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(|bytes| self.order.u64(bytes))
    }

    fn switch(&mut self) -> Option<bool> {
        self.array().map(|[on]| on != 0)
    }

    fn macs(&mut self) -> Option<Table> {
        let len = (self.u32()? as usize).checked_mul(6)?;
        let (macs, _) = self.bytes(len)?.as_chunks();
        Some(Table::new(macs.iter().copied().map(Mac)))
    }

    fn coalesce(&mut self) -> Option<Coalesce> {
        let (max_packets, max_usecs) = (self.u32()?, self.u32()?);
        Some(Coalesce {
            max_usecs,
            max_packets,
        })
    }
}

const RX: u8 = 0;
const MAC: u8 = 1;
const VLAN: u8 = 2;
const ANNOUNCED: u8 = 3;
const QUEUES: u8 = 4;
const OFFLOADS: u8 = 5;
const COALESCING: u8 = 6;
