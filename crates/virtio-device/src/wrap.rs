//! The wrap counters of a packed virtqueue (section 2.8.1).

/// A wrap counter, driver's or device's: 0 or 1, turned when its position passes the end of the ring.
///
/// It is kept as a mask, with which flags are turned or chosen without a branch or a selection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wrap(u64);

impl Wrap {
    /// The one in bit 15 of `word`: of a saved position or an event suppression structure.
    pub(crate) fn of(word: u16) -> Self {
        Self(u64::from(word >> 15).wrapping_neg())
    }

    /// The same as such a bit.
    pub(crate) fn bit(self) -> u16 {
        self.0 as u16 & WRAP
    }

    /// All bits where it is 1, none where it is 0.
    #[inline(always)]
    pub(crate) fn mask(self) -> u64 {
        self.0
    }

    /// Past the end of the ring.
    #[inline(always)]
    pub(crate) fn turn(&mut self) {
        self.0 = !self.0;
    }
}

/// Its place in a saved position and in event suppression structures.
pub(crate) const WRAP: u16 = 1 << 15;
