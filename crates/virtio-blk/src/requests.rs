//! The requests that a queue has in flight.

use crate::request::Request;

/// As many requests as have been in flight at a time so far, and one to pop into: memory is only
/// touched for those that a driver makes use of.
#[derive(Debug)]
pub(crate) struct Requests {
    all: Vec<Request>,
    /// Indices of those that are not in flight. The last is used next, so that a queue whose
    /// requests are all done at once works in one place.
    free: Vec<usize>,
}

impl Requests {
    /// None yet, at most `most` later.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            all: Vec::with_capacity(most),
            free: Vec::with_capacity(most),
        }
    }

    /// The one to pop into, and its index; none if all are in flight.
    #[inline]
    pub(crate) fn spare(&mut self) -> Option<(usize, &mut Request)> {
        if self.free.is_empty() && self.all.len() < self.all.capacity() {
            self.free.push(self.all.len());
            self.all.push(Request::default());
        }
        let index = *self.free.last()?;
        Some((index, self.all.get_mut(index)?))
    }

    /// The [`spare`](Self::spare) one is in flight now.
    #[inline]
    pub(crate) fn take_spare(&mut self) {
        self.free.truncate(self.free.len().saturating_sub(1));
    }

    /// The one at `index`.
    pub(crate) fn get_mut(&mut self, index: usize) -> Option<&mut Request> {
        self.all.get_mut(index)
    }

    /// The one at `index` is in flight no more.
    pub(crate) fn give_back(&mut self, index: usize) {
        self.free.push(index);
    }

    /// Whether any is.
    pub(crate) fn in_flight(&self) -> bool {
        self.free.len() < self.all.len()
    }
}
