//! VIRTIO_F_IN_ORDER: buffers are used in the order in which they were made available.

use std::collections::VecDeque;

use crate::chain::{Ticket, Token};

/// Completed chains that wait for earlier ones (sections 2.7.9 and 2.8.8).
#[derive(Clone, Debug)]
pub(crate) struct InOrder {
    /// Ticket of the first chain that is not used yet.
    first: Ticket,
    /// That chain and those after it, up to the last that is complete.
    waiting: VecDeque<Option<(Token, u32)>>,
}

impl InOrder {
    /// Nothing waits, and the first chain will have the ticket `first`.
    pub(crate) fn new(first: Ticket) -> Self {
        Self {
            first,
            waiting: VecDeque::new(),
        }
    }

    /// Adds a complete chain, one of the at most 32768 that are in flight.
    pub(crate) fn insert(&mut self, token: Token, written: u32) {
        let place = token.ticket.since(self.first);
        if place >= IN_FLIGHT {
            return;
        }
        if self.waiting.len() <= place {
            self.waiting.resize(place + 1, None);
        }
        self.waiting[place] = Some((token, written));
    }

    /// Takes out the first chain that is not used yet, if it is complete.
    pub(crate) fn next(&mut self) -> Option<(Token, u32)> {
        let complete = (*self.waiting.front()?)?;
        self.waiting.pop_front();
        self.first = self.first.next();
        Some(complete)
    }
}

/// No ring has more descriptors.
const IN_FLIGHT: usize = 1 << 15;
