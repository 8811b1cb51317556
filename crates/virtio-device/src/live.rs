//! Which buffers of a ring are in flight.

/// A set of 16-bit ids: heads of a split ring, buffer ids of a packed one.
///
/// The driver may not make a buffer available again before it was used. A device that does not
/// check hands the same memory to two requests at once.
///
/// A byte for each id: bits would make every request wait for the previous one's store to the
/// same word.
#[derive(Clone, Debug, Default)]
pub(crate) struct LiveSet {
    there: Box<[bool]>,
}

impl LiveSet {
    /// An empty set that can hold ids below `ids`.
    pub(crate) fn new(ids: usize) -> Self {
        Self {
            there: vec![false; ids].into(),
        }
    }

    /// Adds `id`; false if it was there already or cannot be.
    #[inline(always)]
    pub(crate) fn insert(&mut self, id: u16) -> bool {
        let slot = self.there.get_mut(usize::from(id));
        slot.is_some_and(|there| !std::mem::replace(there, true))
    }

    /// Removes `id`; false if it was not there.
    #[inline(always)]
    pub(crate) fn remove(&mut self, id: u16) -> bool {
        self.there
            .get_mut(usize::from(id))
            .is_some_and(std::mem::take)
    }

    /// Number of ids in the set.
    pub(crate) fn len(&self) -> usize {
        self.there.iter().filter(|&&there| there).count()
    }
}
