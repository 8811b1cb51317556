//! Which frames the driver wants (section 5.1.6.5.1 to 5.1.6.5.3).

use crate::Mac;
use crate::features as f;
use crate::negotiated::Negotiated;

/// Receive modes, addresses and VLANs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) modes: Modes,
    pub(crate) mac: Mac,
    pub(crate) unicast: Table,
    pub(crate) multicast: Table,
    pub(crate) vlans: Vlans,
}

/// The receive modes that VIRTIO_NET_CTRL_RX commands switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Modes {
    pub(crate) promisc: bool,
    pub(crate) allmulti: bool,
    pub(crate) alluni: bool,
    pub(crate) nomulti: bool,
    pub(crate) nouni: bool,
    pub(crate) nobcast: bool,
}

/// One of the two tables of addresses. One that was too long for it lets everything through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) macs: Vec<Mac>,
    pub(crate) overflow: bool,
}

/// A set of the 4096 VLANs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Vlans(pub(crate) Box<[u64; VLAN_WORDS]>);

/// What a device's filter lets through, for `query-rx-filter`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterReport {
    /// Whether every frame is let through.
    pub promiscuous: bool,
    /// Which unicast frames are.
    pub unicast: Reception,
    /// Which multicast frames are.
    pub multicast: Reception,
    /// Whether frames to all stations are.
    pub broadcast_allowed: bool,
    /// Whether the table of unicast addresses was too long.
    pub unicast_overflow: bool,
    /// Whether that of multicast addresses was.
    pub multicast_overflow: bool,
    /// The address of the device.
    pub main_mac: Mac,
    /// Unicast addresses besides.
    pub unicast_table: Vec<Mac>,
    /// Multicast addresses.
    pub multicast_table: Vec<Mac>,
    /// VLANs; all of them where the driver has not negotiated VIRTIO_NET_F_CTRL_VLAN.
    pub vlans: Option<Vec<u16>>,
}

/// How frames of a kind are received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reception {
    /// Those whose address is in the table.
    Normal,
    /// None.
    None,
    /// All.
    All,
}

impl Filter {
    /// Everything is let through, as after a reset.
    pub(crate) fn new(mac: Mac) -> Self {
        Self {
            modes: Modes::default(),
            mac,
            unicast: Table::default(),
            multicast: Table::default(),
            vlans: Vlans::default(),
        }
    }

    /// Whether nobody needs to look at frames.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.modes.promisc
    }

    /// Whether the driver wants the frame that begins with `frame`.
    pub(crate) fn passes(&self, frame: &[u8], negotiated: &Negotiated) -> bool {
        if self.modes.promisc {
            return true;
        }
        let Some((destination, rest)) = frame.split_first_chunk() else {
            // Too short for an address: the driver may see for itself.
            return true;
        };
        let tag = vlan(rest.get(6..).unwrap_or_default());
        if tag.is_some_and(|vlan| negotiated.has(f::CTRL_VLAN) && !self.vlans.has(vlan)) {
            return false;
        }
        self.passes_address(Mac(*destination))
    }

    /// For `query-rx-filter`.
    pub(crate) fn report(&self, vlans_filtered: bool) -> FilterReport {
        let modes = &self.modes;
        let reception = |none, all| match (none, all) {
            (true, _) => Reception::None,
            (_, true) => Reception::All,
            _ => Reception::Normal,
        };
        FilterReport {
            promiscuous: modes.promisc,
            unicast: reception(modes.nouni, modes.alluni),
            multicast: reception(modes.nomulti, modes.allmulti),
            broadcast_allowed: !modes.nobcast,
            unicast_overflow: self.unicast.overflow,
            multicast_overflow: self.multicast.overflow,
            main_mac: self.mac,
            unicast_table: self.unicast.macs.clone(),
            multicast_table: self.multicast.macs.clone(),
            vlans: vlans_filtered.then(|| self.vlans.list()),
        }
    }

    fn passes_address(&self, destination: Mac) -> bool {
        let modes = &self.modes;
        if destination == Mac::BROADCAST {
            !modes.nobcast
        } else if destination.is_multicast() {
            !modes.nomulti && (modes.allmulti || self.multicast.has(destination))
        } else {
            !modes.nouni
                && (modes.alluni || destination == self.mac || self.unicast.has(destination))
        }
    }
}

impl Default for Modes {
    /// A driver that knows no modes wants everything.
    fn default() -> Self {
        Self {
            promisc: true,
            allmulti: false,
            alluni: false,
            nomulti: false,
            nouni: false,
            nobcast: false,
        }
    }
}

impl Table {
    /// A table of these addresses, of which [`MAX_MACS`] fit.
    pub(crate) fn new(macs: impl ExactSizeIterator<Item = Mac>) -> Self {
        let overflow = macs.len() > MAX_MACS;
        let macs = macs.filter(|_| !overflow).collect();
        Self { macs, overflow }
    }

    fn has(&self, mac: Mac) -> bool {
        self.overflow || self.macs.contains(&mac)
    }
}

impl Vlans {
    /// Adds or removes `vlan`; false where there is none of this number.
    pub(crate) fn set(&mut self, vlan: u16, there: bool) -> bool {
        let Some(word) = self.0.get_mut(usize::from(vlan / 64)) else {
            return false;
        };
        let bit = 1 << (vlan % 64);
        *word = if there { *word | bit } else { *word & !bit };
        true
    }

    fn has(&self, vlan: u16) -> bool {
        let word = self.0.get(usize::from(vlan / 64));
        word.is_some_and(|word| word >> (vlan % 64) & 1 != 0)
    }

    fn list(&self) -> Vec<u16> {
        (0..4096).filter(|&vlan| self.has(vlan)).collect()
    }
}

impl Default for Vlans {
    fn default() -> Self {
        Self(Box::new([0; VLAN_WORDS]))
    }
}

/// The VLAN of a frame that has these bytes from its type on, if it has a tag.
fn vlan(bytes: &[u8]) -> Option<u16> {
    match *bytes {
        [0x81, 0x00, a, b, ..] => Some(u16::from_be_bytes([a, b]) & 0xfff),
        _ => None,
    }
}

/// Bytes from the start of a frame that the filter looks at.
pub(crate) const LOOKS_AT: u32 = 18;
/// Addresses that a table holds, as in QEMU.
pub(crate) const MAX_MACS: usize = 64;
pub(crate) const VLAN_WORDS: usize = 4096 / 64;
