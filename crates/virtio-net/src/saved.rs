//! Saved state: what the driver has set by commands.
//!
//! Little-endian, in the order of [`Rules`]: the address (6 bytes), the receive modes as bits (1), both
//! tables, each its overflow (1), length (1) and addresses; the VLANs (512); pairs in use (2); the hash,
//! if any (1, then 4 of types and 40 of key); the table, if any (2 of length, then 2 for each entry and
//! the unclassified); the offloads, if set (1, then 8); coalescing for receive and transmit queues and
//! each queue (4 + 4); whether an announcement is asked for (1).

use virtio_device::{ByteOrder, Error, Features, Result};

use crate::coalesce::{Coalesce, Coalescing};
use crate::control::Data;
use crate::filter::{Filter, MAX_MACS, Modes, Table, VLAN_WORDS, Vlans};
use crate::hash::TYPES;
use crate::rss::{self, HashRules, MAX_TABLE, Steering};
use crate::rules::Rules;
use crate::{Mac, Offloads};

/// Encodes `rules`, and whether an announcement is asked for.
pub(crate) fn encode(rules: &Rules, announces: bool) -> Vec<u8> {
    let Rules {
        filter,
        pairs,
        steering,
        taken,
        coalescing,
    } = rules;
    let mut out = Vec::new();
    encode_filter(&mut out, filter);
    out.extend(pairs.to_le_bytes());
    encode_steering(&mut out, steering);
    out.push(taken.is_some().into());
    out.extend((taken.unwrap_or_default().bits() as u64).to_le_bytes());
    for coalesce in coalescing.for_all.iter().chain(&coalescing.queues) {
        out.extend(coalesce.max_usecs.to_le_bytes());
        out.extend(coalesce.max_packets.to_le_bytes());
    }
    out.push(announces.into());
    out
}

/// The rules in `bytes`, if a device with `pairs` pairs can have them.
pub(crate) fn decode(bytes: &[u8], pairs: u16) -> Result<(Rules, bool)> {
    let mut input = Input(Data::new(bytes, ByteOrder::Little));
    let filter = input.filter()?;
    let in_use = input.u16()?;
    let steering = input.steering(pairs)?;
    let (is_taken, taken) = (input.flag()?, u64::from_le_bytes(input.array()?));
    let taken = Features::from_bits(taken.into());
    let coalescing = input.coalescing(pairs)?;
    let announces = input.flag()?;
    let possible = Offloads::ALL.driver_features();
    let fits = (1..=pairs).contains(&in_use) && possible.contains(taken) && input.is_at_end();
    if !fits || !is_taken && !taken.is_empty() {
        return Err(Error::State("not that of such a network device"));
    }
    let rules = Rules {
        filter,
        pairs: in_use,
        steering,
        taken: is_taken.then_some(taken),
        coalescing,
    };
    Ok((rules, announces))
}

fn encode_filter(out: &mut Vec<u8>, filter: &Filter) {
    let Filter {
        modes,
        mac,
        unicast,
        multicast,
        vlans,
    } = filter;
    out.extend(mac.0);
    let Modes {
        promisc,
        allmulti,
        alluni,
        nomulti,
        nouni,
        nobcast,
    } = *modes;
    let bits = [promisc, allmulti, alluni, nomulti, nouni, nobcast];
    let bits = bits
        .iter()
        .rev()
        .fold(0, |bits, &on| bits << 1 | u8::from(on));
    out.push(bits);
    for Table { macs, overflow } in [unicast, multicast] {
        out.extend([u8::from(*overflow), macs.len() as u8]);
        out.extend(macs.iter().flat_map(|mac| mac.0));
    }
    out.extend(vlans.0.iter().flat_map(|word| word.to_le_bytes()));
}

fn encode_steering(out: &mut Vec<u8>, steering: &Steering) {
    let Steering { hash, table } = steering;
    out.push(hash.is_some().into());
    if let Some(HashRules { types, key }) = hash {
        out.extend(types.to_le_bytes());
        out.extend(key);
    }
    let len = table.as_ref().map_or(0, |table| table.pairs.len() as u16);
    out.extend(len.to_le_bytes());
    if let Some(table) = table {
        let entries = table.pairs.iter().chain([&table.unclassified]);
        out.extend(entries.flat_map(|pair| pair.to_le_bytes()));
    }
}

/// Untrusted bytes, read from the front.
struct Input<'a>(Data<'a>);

impl Input<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.0.array().ok_or(SHORT)
    }

    fn u16(&mut self) -> Result<u16> {
        self.0.u16().ok_or(SHORT)
    }

    fn u32(&mut self) -> Result<u32> {
        self.0.u32().ok_or(SHORT)
    }

    fn flag(&mut self) -> Result<bool> {
        match self.array()? {
            [flag @ (0 | 1)] => Ok(flag == 1),
            _ => Err(Error::State("a flag that is none")),
        }
    }

    fn is_at_end(&mut self) -> bool {
        self.0.array::<1>().is_none()
    }

    fn filter(&mut self) -> Result<Filter> {
        let mac = Mac(self.array()?);
        let [bits] = self.array()?;
        let mode = |bit: u8| bits >> bit & 1 != 0;
        let modes = Modes {
            promisc: mode(0),
            allmulti: mode(1),
            alluni: mode(2),
            nomulti: mode(3),
            nouni: mode(4),
            nobcast: mode(5),
        };
        let (unicast, multicast) = (self.table()?, self.table()?);
        let mut vlans = Vlans(Box::new([0; VLAN_WORDS]));
        for word in vlans.0.iter_mut() {
            *word = u64::from_le_bytes(self.array()?);
        }
        if bits >> 6 != 0 {
            return Err(Error::State("a receive mode that is none"));
        }
        Ok(Filter {
            modes,
            mac,
            unicast,
            multicast,
            vlans,
        })
    }

    fn table(&mut self) -> Result<Table> {
        let (overflow, [len]) = (self.flag()?, self.array()?);
        if usize::from(len) > MAX_MACS || overflow && len > 0 {
            return Err(Error::State("more addresses than there can be"));
        }
        let macs = (0..len).map(|_| self.array().map(Mac));
        Ok(Table {
            macs: macs.collect::<Result<_>>()?,
            overflow,
        })
    }

    fn steering(&mut self, pairs: u16) -> Result<Steering> {
        let hash = match self.flag()? {
            true => Some(HashRules {
                types: self.u32()?,
                key: self.array()?,
            }),
            false => None,
        };
        let len = self.u16()?;
        let good_hash = hash.is_none_or(|hash| hash.types & !TYPES == 0);
        if !good_hash || len > MAX_TABLE || len > 0 && !len.is_power_of_two() {
            return Err(Error::State("hashes or a table that there cannot be"));
        }
        let table = (len > 0).then(|| self.steering_table(len, pairs));
        Ok(Steering {
            hash,
            table: table.transpose()?,
        })
    }

    fn steering_table(&mut self, len: u16, pairs: u16) -> Result<rss::Table> {
        let entries = (0..len).map(|_| self.u16());
        let table = rss::Table {
            pairs: entries.collect::<Result<_>>()?,
            unclassified: self.u16()?,
        };
        let good = |&pair: &u16| pair < pairs;
        if table.pairs.iter().all(good) && good(&table.unclassified) {
            return Ok(table);
        }
        Err(Error::State("queues that there are not"))
    }

    fn coalescing(&mut self, pairs: u16) -> Result<Coalescing> {
        let mut coalescing = Coalescing::new(2 * pairs);
        let Coalescing { for_all, queues } = &mut coalescing;
        for coalesce in for_all.iter_mut().chain(queues) {
            *coalesce = Coalesce {
                max_usecs: self.u32()?,
                max_packets: self.u32()?,
            };
        }
        Ok(coalescing)
    }
}

pub(crate) const KIND: &str = "virtio-net";
pub(crate) const VERSION: u32 = 1;
const SHORT: Error = Error::State("shorter than it should be");
