//! Logical unit numbers (SAM-5 section 4.7).

/// A logical unit number that fits a single level: 0 to 16383.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lun(u16);

impl Lun {
    /// The largest.
    pub const MAX: Self = Self(0x3fff);

    /// The unit of this number, if there can be one.
    pub const fn new(number: u16) -> Option<Self> {
        if number <= Self::MAX.0 {
            Some(Self(number))
        } else {
            None
        }
    }

    /// Its number.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// A single level in peripheral device addressing below 256 and in flat space addressing above,
    /// which is what initiators expect in REPORT LUNS.
    pub const fn encode(self) -> [u8; 8] {
        let [high, low] = self.0.to_be_bytes();
        let method = if high == 0 { 0 } else { FLAT };
        [method | high, low, 0, 0, 0, 0, 0, 0]
    }

    /// The number that these bytes have in one level, by either method. `None` for anything else,
    /// such as a bus other than 0, a second level or a well known unit.
    pub const fn decode(bytes: [u8; 8]) -> Option<Self> {
        let [first, low, rest @ ..] = bytes;
        match rest {
            [0, 0, 0, 0, 0, 0] => {}
            _ => return None,
        }
        match first {
            0 => Some(Self(low as u16)),
            FLAT..=0x7f => Some(Self(u16::from_be_bytes([first - FLAT, low]))),
            _ => None,
        }
    }
}

/// Address method 01b.
const FLAT: u8 = 0x40;
