//! The tasks of one request queue that are in flight.

use std::sync::Arc;

use scsi_target::Task;
use virtio_device::Chain;

use crate::Address;
use crate::office::{Fate, Order, Ticket};
use crate::request::Frame;

/// The place of one request, used again by the next.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    pub(crate) chain: Chain,
    pub(crate) frame: Frame,
    pub(crate) task: Task,
    pub(crate) address: Address,
    id: u64,
    /// The path that it is on, while it is in flight.
    pub(crate) path: Option<usize>,
    fate: Option<Fate>,
    /// Of the functions that wait for its end.
    tickets: Vec<Arc<Ticket>>,
}

/// The tasks that a task management function concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// One of a unit.
    Task(Address, u64),
    /// All of a unit.
    Unit(Address),
    /// All of a target.
    Target(u8),
}

impl Slot {
    /// For a request of this identifier to this unit.
    pub(crate) fn begin(&mut self, address: Address, id: u64) {
        (self.address, self.id, self.fate) = (address, id, None);
    }

    /// Carries `order` out if it concerns this one and this is in flight. The path that it is on, if
    /// it is to end.
    pub(crate) fn heed(&mut self, order: &Order) -> Option<usize> {
        let path = self.path?;
        if !order.scope.includes(self.address, self.id) {
            return None;
        }
        order.ticket.find();
        self.fate = Some(order.fate?);
        self.task.abort();
        self.tickets.push(order.ticket.clone());
        Some(path)
    }

    /// The same for one that is kept, of which nothing is in flight; whether that has ended it.
    pub(crate) fn heed_kept(&mut self, order: &Order) -> bool {
        if !order.scope.includes(self.address, self.id) {
            return false;
        }
        order.ticket.find();
        self.fate = order.fate;
        self.fate.is_some()
    }

    /// What ended it, if something did. Those who waited for that learn of it when they are let
    /// go, which is when the driver has its answer.
    pub(crate) fn end(&mut self) -> (Option<Fate>, Vec<Arc<Ticket>>) {
        self.path = None;
        (self.fate.take(), std::mem::take(&mut self.tickets))
    }
}

impl Scope {
    fn includes(self, address: Address, id: u64) -> bool {
        match self {
            Self::Task(unit, task) => unit == address && task == id,
            Self::Unit(unit) => unit == address,
            Self::Target(target) => target == address.target,
        }
    }
}
