//! The requests that a queue has in flight.

use virtio_device::Chain;

use crate::request::Request;

/// As many requests as have been in flight at a time so far, and one to pop into: memory is only
/// touched for those that a driver makes use of. What pops take, storage as long as the queue, there is
/// once.
#[derive(Debug)]
pub(crate) struct Requests {
    all: Vec<Request>,
    /// Indices of those that are not in flight. The last is used next, so that a queue whose
    /// requests are all done at once works in one place.
    free: Vec<usize>,
    /// Long storage for the next one to pop into, if `is_aside`, else what it has instead of its own.
    aside: Chain,
    is_aside: bool,
}

impl Requests {
    /// None yet, at most `most` later.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            all: Vec::with_capacity(most),
            free: Vec::with_capacity(most),
            aside: Chain::new(),
            is_aside: true,
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
        let request = self.all.get_mut(index)?;
        if std::mem::take(&mut self.is_aside) {
            std::mem::swap(&mut request.chain, &mut self.aside);
        }
        Some((index, request))
    }

    /// The [`spare`](Self::spare) one is in flight now.
    #[inline]
    pub(crate) fn take_spare(&mut self) {
        let spare = self.free.pop().and_then(|index| self.all.get_mut(index));
        if let Some(request) = spare {
            request.chain.move_to(&mut self.aside);
            std::mem::swap(&mut request.chain, &mut self.aside);
            self.is_aside = true;
        }
    }

    /// The one at `index`.
    pub(crate) fn get_mut(&mut self, index: usize) -> Option<&mut Request> {
        self.all.get_mut(index)
    }

    /// The one at `index` is in flight no more. The spare one, which has the long storage, stays that.
    pub(crate) fn give_back(&mut self, index: usize) {
        let last = self.free.len().saturating_sub(1);
        match self.is_aside {
            true => self.free.push(index),
            false => self.free.insert(last, index),
        }
    }

    /// Indices of all, in flight or not.
    pub(crate) fn indices(&self) -> std::ops::Range<usize> {
        0..self.all.len()
    }

    /// Whether any is.
    pub(crate) fn in_flight(&self) -> bool {
        self.free.len() < self.all.len()
    }
}

#[cfg(test)]
mod tests {
    use super::Requests;

    /// What is long is handed on, and requests that are done at once change nothing.
    #[test]
    fn each_spare_request_has_the_storage_of_the_one_before() {
        let mut requests = Requests::new(4);
        let spare = |requests: &mut Requests| requests.spare().map(|(index, _)| index);
        assert_eq!(spare(&mut requests), Some(0));
        assert!(!requests.is_aside, "with the first");
        assert_eq!(spare(&mut requests), Some(0));
        for next in 1..4 {
            requests.take_spare();
            assert!(requests.is_aside && requests.in_flight());
            assert_eq!(spare(&mut requests), Some(next));
        }
        requests.give_back(1);
        assert_eq!(spare(&mut requests), Some(3), "which has it");
        requests.take_spare();
        assert_eq!(spare(&mut requests), Some(1));
        requests.take_spare();
        assert_eq!(spare(&mut requests), None, "all are in flight");
        (0..4).for_each(|index| requests.give_back(index));
        assert!(!requests.in_flight());
    }
}
