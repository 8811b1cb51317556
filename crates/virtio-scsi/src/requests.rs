//! The worker of one request queue: what it takes from the queue, and what it gives back.

use std::sync::Arc;
use std::vec;

use guest_io::block::Backend;
use guest_io::{Completion, MemoryGuard, Storage};
use scsi_target::{Ending, Path};
use virtio_device::vm_memory::GuestMemory;
use virtio_device::{
    AddressSpace, ByteOrder, Cx, GuestView, Progress, QueueError, Result, Source, Virtqueue,
};

use crate::data::Data;
use crate::dispatch::Course;
use crate::office::{Inbox, Office, Order};
use crate::paths::Paths;
use crate::request::{Answer, Frame};
use crate::roster::Seen;
use crate::tasks::Slot;

/// Serves one request queue. `G` keeps guest memory mapped.
pub(crate) struct RequestWorker<B: Backend, G: MemoryGuard + Send + Sync> {
    /// Index of the queue in the device.
    queue: u16,
    office: Arc<Office<B>>,
    pub(crate) seen: Seen<B>,
    pub(crate) paths: Paths<B, G>,
    pub(crate) slots: Vec<Slot>,
    /// Indices of those that are not in flight. The last is used next.
    free: Vec<usize>,
    /// Requests that an earlier worker has kept, to be begun before any other.
    again: vec::IntoIter<Slot>,
    /// Requests that failed or were called off, for the next worker.
    kept: Vec<Slot>,
    pub(crate) storage: Storage,
    pub(crate) order: ByteOrder,
    /// No new requests are taken, until the next kick.
    draining: bool,
}

impl<B: Backend, G: MemoryGuard + Send + Sync> RequestWorker<B, G> {
    /// A worker for a request queue, which has at most `size` descriptors.
    pub(crate) fn new(queue: u16, size: u16, office: Arc<Office<B>>, order: ByteOrder) -> Self {
        // A driver that fills the ring has `size` requests in flight; one more can be popped into.
        let slots = usize::from(size) + 1;
        Self {
            queue,
            seen: office.roster.look(),
            office,
            paths: Paths::new(size),
            slots: std::iter::repeat_with(Slot::default).take(slots).collect(),
            free: (0..slots).rev().collect(),
            again: Vec::new().into_iter(),
            kept: Vec::new(),
            storage: Storage::new(),
            order,
            draining: false,
        }
    }

    /// The same, which begins the requests in `again` that are still of its queue.
    pub(crate) fn again(mut self, again: Vec<Slot>) -> Self {
        self.again = again.into_iter();
        self
    }

    /// The queue, and the requests of it that are to be begun again by the next worker.
    pub(crate) fn into_kept(self) -> (u16, Vec<Slot>) {
        (self.queue, self.again.chain(self.kept).collect())
    }

    pub(crate) fn kick<AS: AddressSpace<T = G>>(
        &mut self,
        cx: &mut Cx<'_, AS>,
    ) -> Result<Progress> {
        self.drain(false);
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
        if orders.is_empty() {
            return progress;
        }
        self.heed(&orders, cx);
        // What had not begun has ended.
        progress.and_then(|_| self.serve(cx))
    }

    pub(crate) fn quiesce<AS: AddressSpace<T = G>>(
        &mut self,
        cx: &mut Cx<'_, AS>,
    ) -> Result<Progress> {
        if !self.draining && cx.host().is_reset(self.queue) {
            self.call_off();
        }
        self.drain(true);
        let orders = self.inbox().map(Inbox::take).unwrap_or_default();
        self.heed(&orders, cx);
        self.serve(cx)
    }

    pub(crate) fn sources(&self, add: &mut dyn FnMut(Source<'_>)) {
        if let Some(inbox) = self.inbox() {
            add(inbox.bell.source(INBOX));
        }
        self.paths.sources(add);
    }

    /// Begins or ends to take no new requests, and to have those there are end as soon as they can.
    fn drain(&mut self, on: bool) {
        if self.draining != on {
            self.draining = on;
            self.paths.drain(on);
        }
    }

    /// Has commands that wait for their turn never begin. They are kept, and the reset drops them.
    fn call_off(&mut self) {
        for (index, slot) in self.slots.iter().enumerate() {
            let path = slot.path.and_then(|path| self.paths.path(path));
            path.into_iter().for_each(|path| path.cancel(index as u64));
        }
    }

    fn inbox(&self) -> Option<&Inbox> {
        let number = self.queue.checked_sub(FIRST_REQUEST_QUEUE)?;
        self.office.inboxes.get(usize::from(number))
    }

    /// Carries `orders` out: what is in flight is told to end, and what is kept ends here.
    fn heed<AS: AddressSpace<T = G>>(&mut self, orders: &[Order], cx: &mut Cx<'_, AS>) {
        for order in orders {
            for (index, slot) in self.slots.iter_mut().enumerate() {
                if let Some(path) = slot.heed(order) {
                    let path = self.paths.path(path);
                    path.into_iter().for_each(|path| path.cancel(index as u64));
                }
            }
            let mut again = std::mem::take(&mut self.again).collect::<Vec<_>>();
            let mut ended: Vec<_> = self
                .kept
                .extract_if(.., |slot| slot.heed_kept(order))
                .collect();
            ended.extend(again.extract_if(.., |slot| slot.heed_kept(order)));
            self.again = again.into_iter();
            self.end_kept(ended, cx);
        }
    }

    /// Answers what has ended, takes what is new, answers what of that has ended meanwhile.
    fn serve<AS: AddressSpace<T = G>>(&mut self, cx: &mut Cx<'_, AS>) -> Result<Progress> {
        if self.office.roster.refresh(&mut self.seen) {
            self.paths.review(&self.seen.units);
        }
        let (memory, map) = (cx.memory(), cx.view().memory());
        let mut queue = cx.queue(self.queue);
        // The queue's own knows the region of the rings, where most buffers are.
        let view = queue.as_mut().map(|queue| queue.view().clone());
        let mut view = view.unwrap_or_else(|| GuestView::new(map));
        self.reap(queue.as_mut(), &mut view, memory);
        let popped = match &mut queue {
            Some(queue) if !self.draining => self.start_all(queue, &mut view, memory),
            _ => Ok(()),
        };
        let flushed = self.paths.flush();
        self.reap(queue.as_mut(), &mut view, memory);
        // What has ended just now may have had a next part.
        let flushed = flushed.and(self.paths.flush());
        drop((queue, view));
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
            if let Some(kept) = self.again.next() {
                *slot = kept;
                if !queue.owns(&slot.chain) {
                    continue;
                }
            } else if queue.pop(&mut slot.chain)? {
                slot.frame = Frame::new(self.office.sizes());
            } else {
                break;
            }
            match self.start(index, view, memory) {
                Course::InFlight => self.free.truncate(self.free.len() - 1),
                course => self.end(index, course, queue),
            }
        }
        Ok(())
    }

    /// Gives the request in slot `index` back, which has ended, or keeps it.
    fn end<M: GuestMemory>(&mut self, index: usize, course: Course, queue: &mut Virtqueue<'_, M>) {
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        match course {
            Course::Answered(written) => queue.push(&mut slot.chain, written),
            Course::Kept => self.kept.push(std::mem::take(slot)),
            Course::InFlight => {}
        }
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
        let unit = path.unit().clone();
        let course = self.course(index, ending, fate, Some(&unit), view);
        self.free.push(index);
        self.paths.landed(number);
        let queue = queue?;
        self.end(index, course, queue);
        if !tickets.is_empty() {
            // Before the function is answered.
            queue.publish();
        }
        Some(())
    }

    /// Answers requests that were kept, and that functions have ended.
    fn end_kept<AS: AddressSpace<T = G>>(&mut self, ended: Vec<Slot>, cx: &mut Cx<'_, AS>) {
        let (order, mut view) = (self.order, cx.view());
        let Some(mut queue) = cx.queue(self.queue) else {
            return;
        };
        for mut slot in ended {
            let (fate, _) = slot.end();
            let answer = Answer::new(Ending::Aborted, fate);
            let written = answer.write::<_, B>(slot.frame, &slot.chain, &mut view, order, None);
            queue.push(&mut slot.chain, written);
        }
    }
}

/// Index of the first request queue (section 5.6.2).
pub(crate) const FIRST_REQUEST_QUEUE: u16 = 2;
/// Below those of paths.
const INBOX: u16 = 0;
