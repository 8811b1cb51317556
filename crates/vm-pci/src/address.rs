//! Addresses: where a function sits on its bus ([`Bdf`]) and where a BAR decodes ([`IoAddr`]).

use std::fmt;

/// Bus, device and function number of a configuration access (PCI Local Bus 3.0, section 3.2.2.3).
///
/// Device and function numbers are reduced to 5 and 3 bits when the value is made, so a `Bdf`
/// always names a place that can exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bdf {
    bus: u8,
    slot: Slot,
}

impl Bdf {
    /// Names function `slot` of the bus that the guest numbered `bus`.
    pub const fn new(bus: u8, slot: Slot) -> Self {
        Self { bus, slot }
    }

    /// Splits a 16-bit requester identifier: bus in bits 15:8, device in 7:3, function in 2:0.
    pub const fn from_requester_id(id: u16) -> Self {
        Self::new((id >> 8) as u8, Slot::new((id >> 3) as u8, id as u8))
    }

    /// Bus number, as the guest assigned it.
    pub const fn bus(self) -> u8 {
        self.bus
    }

    /// Device and function on that bus.
    pub const fn slot(self) -> Slot {
        self.slot
    }
}

impl fmt::Display for Bdf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}:{}", self.bus, self.slot)
    }
}

/// Device and function number on one bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    device: u8,
    function: u8,
}

impl Slot {
    /// Names a function; only the low 5 bits of `device` and 3 bits of `function` count.
    pub const fn new(device: u8, function: u8) -> Self {
        Self {
            device: device & 0x1f,
            function: function & 7,
        }
    }

    /// Device number, 0 to 31.
    pub const fn device(self) -> u8 {
        self.device
    }

    /// Function number, 0 to 7.
    pub const fn function(self) -> u8 {
        self.function
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}.{}", self.device, self.function)
    }
}

/// Where a BAR decodes, in the address space of the guest's CPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IoAddr {
    /// A port number.
    Pio(u16),
    /// A guest physical address.
    Mmio(u64),
}

/// Addresses that a BAR decodes: `size` bytes from `start`.
///
/// A range never wraps and an I/O range never passes port 0xffff; [`Bar::decode`](crate::Bar::decode)
/// gives no range in these cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IoRange {
    start: IoAddr,
    size: u64,
}

impl IoRange {
    /// A range of `size` bytes, or `None` where it is empty or passes the end of its space.
    pub fn new(start: IoAddr, size: u64) -> Option<Self> {
        let (first, limit) = match start {
            IoAddr::Pio(port) => (u64::from(port), u64::from(u16::MAX)),
            IoAddr::Mmio(address) => (address, u64::MAX),
        };
        let last = first.checked_add(size.checked_sub(1)?)?;
        (last <= limit).then_some(Self { start, size })
    }

    /// First address.
    pub fn start(self) -> IoAddr {
        self.start
    }

    /// Length in bytes, never zero.
    pub fn size(self) -> u64 {
        self.size
    }

    /// First address as a number, whatever the space.
    pub(crate) fn first(self) -> u64 {
        match self.start {
            IoAddr::Pio(port) => port.into(),
            IoAddr::Mmio(address) => address,
        }
    }

    /// Last address as a number. The constructor has excluded overflow.
    pub(crate) fn last(self) -> u64 {
        self.first().saturating_add(self.size - 1)
    }
}
