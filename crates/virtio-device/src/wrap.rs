//! The wrap counters of a packed virtqueue (section 2.8.1).

use crate::descriptor::PACKED;

/// A wrap counter, driver's or device's: 0 or 1, turned when its position passes the end of the ring.
///
/// It is kept as the flags AVAIL and USED, at their place in the second word of a descriptor, both of
/// which are the counter once that is used: they are compared and written without a branch or a
/// selection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wrap(u64);

impl Wrap {
    /// The one in bit 15 of `word`: of a saved position or an event suppression structure.
    pub(crate) fn of(word: u16) -> Self {
        Self(u64::from(word >> 15) * BOTH)
    }

    /// The same as such a bit.
    pub(crate) fn bit(self) -> u16 {
        (self.0 >> PACKED) as u16 & WRAP
    }

    /// AVAIL and USED of a used descriptor.
    #[inline(always)]
    pub(crate) fn used(self) -> u64 {
        self.0
    }

    /// Whether a descriptor with this second word is available (section 2.8.1): AVAIL is the
    /// driver's wrap counter and USED is not.
    #[inline(always)]
    pub(crate) fn is_available(self, word: u64) -> bool {
        (word ^ self.0) & BOTH == u64::from(USED) << PACKED
    }

    /// Past the end of the ring.
    #[inline(always)]
    pub(crate) fn turn(&mut self) {
        self.0 ^= BOTH;
    }
}

/// Its place in a saved position and in event suppression structures.
pub(crate) const WRAP: u16 = 1 << 15;

const AVAIL: u16 = 1 << 7;
const USED: u16 = 1 << 15;
const BOTH: u64 = ((AVAIL | USED) as u64) << PACKED;
