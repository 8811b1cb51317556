//! Who has which part of guest memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A first-fit allocator of guest addresses. Clones share it.
#[derive(Clone, Debug)]
pub struct Heap(Arc<Mutex<BTreeMap<u64, u64>>>);

impl Heap {
    /// All of `start..end` is free.
    pub fn new(start: u64, end: u64) -> Self {
        Self(Arc::new(Mutex::new(BTreeMap::from([(start, end)]))))
    }

    /// The address of `len` bytes, a multiple of `align`. Panics when memory has run out.
    pub fn alloc(&self, len: u64, align: u64) -> u64 {
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let len = len.max(1);
        let fits = free.iter().find_map(|(&start, &end)| {
            let at = start.next_multiple_of(align);
            (at + len <= end).then_some((start, end, at))
        });
        let (start, end, at) = fits.expect("guest memory has run out");
        free.remove(&start);
        if start < at {
            free.insert(start, at);
        }
        if at + len < end {
            free.insert(at + len, end);
        }
        at
    }

    /// Gives back what [`alloc`](Self::alloc) of `len` bytes returned.
    pub fn free(&self, at: u64, len: u64) {
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut start, mut end) = (at, at + len.max(1));
        if let Some((&before, &touch)) = free.range(..at).next_back()
            && touch == at
        {
            free.remove(&before);
            start = before;
        }
        if let Some(after) = free.remove(&end) {
            end = after;
        }
        free.insert(start, end);
    }
}
