//! The worker of one request queue.

use std::sync::Arc;

use guest_io::block::Backend;
use guest_io::{Completion, MemoryGuard, Storage};
use scsi_target::{Begun, Buffers, Cdb, LogicalUnit, Lun, Path, absent};
use virtio_device::vm_memory::GuestMemory;
use virtio_device::{
    AddressSpace, ByteOrder, Cx, GuestView, Progress, QueueError, Result, Source, Virtqueue,
};

use crate::Address;
use crate::data::Data;
use crate::office::{Inbox, Office, Order};
use crate::paths::Paths;
use crate::request::{Answer, Frame, Header, Response, check_condition};
use crate::roster::{Seen, luns_of};
use crate::tasks::Slot;

/// Serves one request queue. `G` keeps guest memory mapped.
pub(crate) struct RequestWorker<B: Backend, G: MemoryGuard + Send + Sync> {
    /// Index of the queue in the device.
    queue: u16,
    office: Arc<Office<B>>,
    seen: Seen<B>,
    paths: Paths<B, G>,
    slots: Vec<Slot>,
    /// Indices of those that are not in flight. The last is used next.
    free: Vec<usize>,
    storage: Storage,
    order: ByteOrder,
    /// No new requests are taken, until the next kick.
    draining: bool,
}

impl<B: Backend, G: MemoryGuard + Send + Sync> RequestWorker<B, G> {
    /// A worker for request queue `number`, which has at most `size` descriptors.
    pub(crate) fn new(number: u16, size: u16, office: Arc<Office<B>>, order: ByteOrder) -> Self {
        // A driver that fills the ring has `size` requests in flight; one more can be popped into.
        let slots = usize::from(size) + 1;
        Self {
            queue: number + FIRST_REQUEST_QUEUE,
            seen: office.roster.look(),
            office,
            paths: Paths::new(size),
            slots: std::iter::repeat_with(Slot::default).take(slots).collect(),
            free: (0..slots).rev().collect(),
            storage: Storage::new(),
            order,
            draining: false,
        }
    }

    pub(crate) fn kick<AS: AddressSpace<T = G>>(
        &mut self,
        cx: &mut Cx<'_, AS>,
    ) -> Result<Progress> {
        self.draining = false;
        self.serve(cx)
    }

    pub(crate) fn event<AS: AddressSpace<T = G>>(
        &mut self,
        token: u16,
        cx: &mut Cx<'_, AS>,
    ) -> Result<Progress> {
        if token != INBOX {
            return self.serve(cx);
        }
        let orders = self.inbox().map(Inbox::take).unwrap_or_default();
        self.office.roster.refresh(&mut self.seen);
        self.paths.review(&self.seen.units);
        // What the driver has made available before is taken first: a function concerns that too.
        let progress = self.serve(cx);
        orders.iter().for_each(|order| self.heed(order));
        progress
    }

    pub(crate) fn quiesce<AS: AddressSpace<T = G>>(
        &mut self,
        cx: &mut Cx<'_, AS>,
    ) -> Result<Progress> {
        self.draining = true;
        let orders = self.inbox().map(Inbox::take).unwrap_or_default();
        orders.iter().for_each(|order| self.heed(order));
        self.serve(cx)
    }

    pub(crate) fn sources(&self, add: &mut dyn FnMut(Source<'_>)) {
        if let Some(inbox) = self.inbox() {
            add(inbox.bell.source(INBOX));
        }
        self.paths.sources(add);
    }

    fn inbox(&self) -> Option<&Inbox> {
        let number = self.queue.checked_sub(FIRST_REQUEST_QUEUE)?;
        self.office.inboxes.get(usize::from(number))
    }

    fn heed(&mut self, order: &Order) {
        self.slots.iter_mut().for_each(|slot| slot.heed(order));
    }

    /// Answers what has ended, takes what is new, answers what of that has ended meanwhile.
    fn serve<AS: AddressSpace<T = G>>(&mut self, cx: &mut Cx<'_, AS>) -> Result<Progress> {
        if self.office.roster.refresh(&mut self.seen) {
            self.paths.review(&self.seen.units);
        }
        let (memory, mut view) = (cx.memory(), cx.view());
        let mut queue = cx.queue(self.queue);
        self.reap(queue.as_mut(), &mut view, memory);
        let popped = match &mut queue {
            Some(queue) if !self.draining => self.start_all(queue, &mut view, memory),
            _ => Ok(()),
        };
        let flushed = self.paths.flush();
        self.reap(queue.as_mut(), &mut view, memory);
        // What has ended just now may have had a next part.
        let flushed = flushed.and(self.paths.flush());
        drop(queue);
        self.paths.settle(cx)?;
        popped?;
        Ok(match flushed {
            Ok(()) if self.free.len() < self.slots.len() => Progress::InFlight,
            Ok(()) => Progress::Idle,
            // The host is short of memory. What could not be started is tried again.
            Err(_) => Progress::Again,
        })
    }

    fn start_all<'m, M: GuestMemory>(
        &mut self,
        queue: &mut Virtqueue<'_, M>,
        view: &mut GuestView<'m, M>,
        memory: &G,
    ) -> Result<(), QueueError> {
        while let Some(&index) = self.free.last() {
            let Some(slot) = self.slots.get_mut(index) else {
                break;
            };
            if !queue.pop(&mut slot.chain)? {
                break;
            }
            slot.frame = Frame::new(self.office.sizes());
            if let Some(written) = self.start(index, view, memory) {
                if let Some(slot) = self.slots.get_mut(index) {
                    queue.push(&mut slot.chain, written);
                }
            } else {
                self.free.truncate(self.free.len() - 1);
            }
        }
        Ok(())
    }

    /// Begins the request in slot `index`. Returns the number of bytes written, if it has ended.
    fn start<M: GuestMemory>(
        &mut self,
        index: usize,
        view: &mut GuestView<'_, M>,
        memory: &G,
    ) -> Option<u32> {
        let slot = self.slots.get_mut(index)?;
        let (frame, order) = (slot.frame, self.order);
        // Nobody could learn how it ended.
        if slot.chain.writable_len() < frame.in_at {
            return Some(0);
        }
        let header = frame.header(&slot.chain, view, order);
        let header = header.and_then(|header| match slot.is_bidirectional() {
            true => Err(Response::Failure),
            false => Ok(header),
        });
        let header = match header {
            Ok(header) => header,
            Err(response) => return Some(self.refuse(index, response, view)),
        };
        match Address::decode(header.lun) {
            Some(address) => self.dispatch(index, address, header, view, memory),
            None => Some(self.refuse(index, Response::BadTarget, view)),
        }
    }

    fn refuse<M: GuestMemory>(
        &self,
        index: usize,
        response: Response,
        view: &mut GuestView<'_, M>,
    ) -> u32 {
        self.answer(index, Answer::response(response), None, view)
    }

    /// Has the unit at `address` begin the command of `header`.
    fn dispatch<M: GuestMemory>(
        &mut self,
        index: usize,
        address: Address,
        header: Header,
        view: &mut GuestView<'_, M>,
        memory: &G,
    ) -> Option<u32> {
        self.slots.get_mut(index)?.begin(address, header.id);
        let answer = match header.cdb {
            Ok(cdb) => self.begin(index, address, &cdb, view, memory)?,
            Err(sense) => Answer::new(check_condition(sense), None),
        };
        let unit = answer.sense.and_then(|_| self.seen.units.get(&address));
        Some(self.answer(index, answer, unit.map(Arc::as_ref), view))
    }

    /// Begins a command. `None` if it is in flight.
    fn begin<M: GuestMemory>(
        &mut self,
        index: usize,
        address: Address,
        cdb: &Cdb,
        view: &mut GuestView<'_, M>,
        memory: &G,
    ) -> Option<Answer> {
        let (slot, units) = (self.slots.get_mut(index)?, &self.seen.units);
        let mut data = Data {
            chain: &slot.chain,
            frame: slot.frame,
            view,
            memory,
            storage: &mut self.storage,
        };
        let mut luns = || luns_of(units, address.target);
        let Some(unit) = units.get(&address) else {
            return Some(without_unit(cdb, &mut data, &luns()));
        };
        let ending = match unit.start(cdb, &mut data, &mut luns) {
            Begun::Ended(ending) => ending,
            Begun::Medium(access) => {
                let (token, task) = (index as u64, &mut slot.task);
                let path = (address, unit);
                match self.paths.start(path, access, task, token, &mut data) {
                    Ok(number) => {
                        slot.path = Some(number);
                        return None;
                    }
                    Err(ending) => ending,
                }
            }
        };
        Some(Answer::new(ending, None))
    }

    /// Goes on with requests that were in flight.
    fn reap<M: GuestMemory>(
        &mut self,
        mut queue: Option<&mut Virtqueue<'_, M>>,
        view: &mut GuestView<'_, M>,
        memory: &G,
    ) {
        // A path that is not busy any more leaves the list, and those before it stay where they are.
        for at in (0..self.paths.busy()).rev() {
            let Some(number) = self.paths.busy_at(at) else {
                continue;
            };
            while let Some(completion) = self.paths.path(number).and_then(Path::poll) {
                self.resume(number, completion, queue.as_deref_mut(), view, memory);
            }
        }
    }

    /// Goes on with the request that `completion` is of, and answers it where that was all.
    fn resume<M: GuestMemory>(
        &mut self,
        number: usize,
        completion: Completion,
        queue: Option<&mut Virtqueue<'_, M>>,
        view: &mut GuestView<'_, M>,
        memory: &G,
    ) -> Option<()> {
        let index = completion.token as usize;
        let (slot, path) = (self.slots.get_mut(index)?, self.paths.path(number)?);
        let mut data = Data {
            chain: &slot.chain,
            frame: slot.frame,
            view,
            memory,
            storage: &mut self.storage,
        };
        let ending = path.resume(&mut slot.task, completion, &mut data)?;
        let (fate, tickets) = slot.end();
        let answer = Answer::new(ending, fate);
        let unit = path.unit().clone();
        let written = self.answer(index, answer, Some(&unit), view);
        self.free.push(index);
        self.paths.landed(number);
        let (queue, slot) = (queue?, self.slots.get_mut(index)?);
        queue.push(&mut slot.chain, written);
        if !tickets.is_empty() {
            // Before the function is answered.
            queue.publish();
        }
        Some(())
    }

    fn answer<M: GuestMemory>(
        &self,
        index: usize,
        answer: Answer,
        unit: Option<&LogicalUnit<B>>,
        view: &mut GuestView<'_, M>,
    ) -> u32 {
        let order = self.order;
        self.slots.get(index).map_or(0, |slot| {
            answer.write(slot.frame, &slot.chain, view, order, unit)
        })
    }
}

/// The answer of a target to a command for a unit that it does not have: that is no target at all
/// without any units.
fn without_unit<G: MemoryGuard>(cdb: &Cdb, data: &mut impl Buffers<G>, luns: &[Lun]) -> Answer {
    match luns.is_empty() {
        true => Answer::response(Response::BadTarget),
        false => Answer::new(absent(cdb, data, luns), None),
    }
}

impl Slot {
    /// Data in both directions takes VIRTIO_SCSI_F_INOUT, which is not offered.
    fn is_bidirectional(&self) -> bool {
        self.chain.readable_len() > self.frame.out_at
            && self.chain.writable_len() > self.frame.in_at
    }
}

/// Index of the first request queue (section 5.6.2).
pub(crate) const FIRST_REQUEST_QUEUE: u16 = 2;
/// Below those of paths.
const INBOX: u16 = 0;
