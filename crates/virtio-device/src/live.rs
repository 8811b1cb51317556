//! Which buffers of a ring are in flight.

/// A set of 16-bit ids: heads of a split ring, buffer ids of a packed one.
///
/// The driver may not make a buffer available again before it was used. A device that does not
/// check hands the same memory to two requests at once.
#[derive(Clone, Debug, Default)]
pub(crate) struct LiveSet {
    words: Box<[u64]>,
}

impl LiveSet {
    /// An empty set that can hold ids below `ids`.
    pub(crate) fn new(ids: u32) -> Self {
        Self {
            words: vec![0; (ids as usize).div_ceil(64)].into(),
        }
    }

    /// Adds `id`; false if it was there already or cannot be.
    #[inline]
    pub(crate) fn insert(&mut self, id: u16) -> bool {
        let Some(word) = self.words.get_mut(usize::from(id) / 64) else {
            return false;
        };
        let bit = 1 << (id % 64);
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    /// Removes `id`; false if it was not there.
    #[inline]
    pub(crate) fn remove(&mut self, id: u16) -> bool {
        let Some(word) = self.words.get_mut(usize::from(id) / 64) else {
            return false;
        };
        let bit = 1 << (id % 64);
        let there = *word & bit != 0;
        *word &= !bit;
        there
    }

    /// Number of ids in the set.
    pub(crate) fn len(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }
}
