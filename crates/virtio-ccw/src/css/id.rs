//! How subchannels and devices are named.

use std::fmt;

/// Names a subchannel: subchannel set and number.
///
/// The multiple-channel-subsystems facility is not there, so the subsystem-identification word has
/// no channel-subsystem image in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubchannelId {
    set: u8,
    number: u16,
}

impl SubchannelId {
    /// Number of subchannel sets.
    pub const SETS: u8 = 4;

    /// A subchannel of set `set` (0 to 3); `None` past the last set.
    pub const fn new(set: u8, number: u16) -> Option<Self> {
        match set < Self::SETS {
            true => Some(Self { set, number }),
            false => None,
        }
    }

    /// From a subsystem-identification word, as general register 1 has it (bits 32 to 63). `None`
    /// where the word is none, which is an operand exception.
    pub const fn from_word(word: u32) -> Option<Self> {
        let set = (word >> 17 & 3) as u8;
        match word & 0xfff9_0000 {
            0x0001_0000 => Self::new(set, word as u16),
            _ => None,
        }
    }

    /// The subsystem-identification word.
    pub const fn word(self) -> u32 {
        (self.set as u32) << 17 | 1 << 16 | self.number as u32
    }

    /// Subchannel set.
    pub const fn set(self) -> u8 {
        self.set
    }

    /// Subchannel number in its set.
    pub const fn number(self) -> u16 {
        self.number
    }
}

/// As Linux names a subchannel: `0.1.0003`.
impl fmt::Display for SubchannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0.{}.{:04x}", self.set, self.number)
    }
}

/// The number by which an operator knows a device. Unique in its subchannel set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceNumber(pub u16);

impl fmt::Display for DeviceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}", self.0)
    }
}
