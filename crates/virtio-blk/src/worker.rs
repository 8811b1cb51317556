//! The data plane: one worker for each queue.

use std::sync::Arc;
use std::vec;

use guest_io::{Iovecs, Storage};
use virtio_device::vm_memory::GuestMemory;
use virtio_device::{
    AddressSpace, ByteOrder, Chain, Cx, GuestView, Interest, Progress, QueueError, Result, Source,
    Virtqueue, Worker,
};

use crate::Channel;
use crate::outcome::Outcome;
use crate::request::{Request, Tools};
use crate::requests::Requests;
use crate::shared::{Cache, Shared};

/// Serves one queue of a [`Blk`](crate::Blk) through a channel of its own.
#[derive(Debug)]
pub struct BlkWorker<C> {
    queue: u16,
    channel: C,
    shared: Arc<Shared>,
    cache: Cache,
    order: ByteOrder,
    requests: Requests,
    storage: Storage,
    /// Bytes of the longest segment of data.
    size_max: u32,
    /// Requests that an earlier worker has kept, to be begun before any other.
    again: vec::IntoIter<Chain>,
    /// Requests that failed or were called off, for the next worker.
    kept: Vec<Chain>,
    /// No new requests are taken, until the next kick.
    draining: bool,
}

impl<C> BlkWorker<C> {
    /// A worker for `queue`, which has at most `size` descriptors.
    pub(crate) fn new(
        queue: u16,
        size: u16,
        channel: C,
        shared: Arc<Shared>,
        cache: Cache,
        order: ByteOrder,
    ) -> Self {
        Self {
            queue,
            channel,
            shared,
            cache,
            order,
            // A driver that fills the ring has `size` in flight; one more can be popped into.
            requests: Requests::new(usize::from(size) + 1),
            storage: Storage::new(),
            size_max: u32::MAX,
            again: Vec::new().into_iter(),
            kept: Vec::new(),
            draining: false,
        }
    }

    /// The same, which begins the requests in `again` that are still of its queue.
    pub(crate) fn again(mut self, again: Vec<Chain>) -> Self {
        self.again = again.into_iter();
        self
    }

    /// The queue, and the requests of it that are to be begun again by the next worker.
    pub(crate) fn into_kept(self) -> (u16, Vec<Chain>) {
        (self.queue, self.again.chain(self.kept).collect())
    }

    /// The same for segments of so many bytes at most.
    pub(crate) fn size_max(mut self, size_max: u32) -> Self {
        self.size_max = size_max;
        self
    }

    /// Begins or ends to take no new requests, and to have those there are end as soon as they can.
    #[inline]
    fn drain<AS: AddressSpace>(&mut self, on: bool)
    where
        C: Channel<AS::T>,
    {
        if self.draining != on {
            self.draining = on;
            self.channel.drain(on);
        }
    }

    /// Has requests that wait for their turn never begin. They are kept, and the reset drops them.
    fn call_off<AS: AddressSpace>(&mut self)
    where
        C: Channel<AS::T>,
    {
        for index in self.requests.indices() {
            self.channel.cancel(index as u64);
        }
    }

    /// Answers what has ended, takes what is new, answers what of that has ended meanwhile.
    fn serve<AS: AddressSpace>(&mut self, cx: &mut Cx<'_, AS>) -> Result<Progress>
    where
        C: Channel<AS::T>,
    {
        let memory = cx.memory();
        let mut queue = cx.queue(self.queue);
        self.reap::<AS>(queue.as_mut());
        let popped = match &mut queue {
            Some(queue) if !self.draining => self.start_all::<AS>(queue, memory),
            _ => Ok(()),
        };
        let flushed = self.channel.flush();
        self.reap::<AS>(queue.as_mut());
        // What has ended just now may have had a next part.
        let flushed = flushed.and(self.channel.flush());
        popped?;
        Ok(match flushed {
            Ok(()) if self.requests.in_flight() => Progress::InFlight,
            Ok(()) => Progress::Idle,
            // The host is short of memory. What could not be started is tried again.
            Err(_) => Progress::Again,
        })
    }

    fn start_all<AS: AddressSpace>(
        &mut self,
        queue: &mut Virtqueue<'_, AS::M>,
        memory: &AS::T,
    ) -> Result<(), QueueError>
    where
        C: Channel<AS::T>,
    {
        let mut tools = Tools {
            memory,
            iovecs: Iovecs::new(&mut self.storage),
            channel: &mut self.channel,
            shared: &self.shared,
            cache: self.cache,
            order: self.order,
            size_max: self.size_max,
        };
        while let Some((index, request)) = self.requests.spare() {
            if let Some(chain) = self.again.next() {
                request.chain = chain;
                if !queue.owns(&request.chain) {
                    continue;
                }
            } else if !queue.pop(&mut request.chain)? {
                break;
            }
            match request.start(index as u64, queue.view(), &mut tools) {
                Some(outcome) => complete(queue, request, outcome, &mut self.kept),
                None => self.requests.take_spare(),
            }
        }
        Ok(())
    }

    /// Answers requests that were in flight. Where the queue is broken there is nobody to answer.
    fn reap<AS: AddressSpace>(&mut self, mut queue: Option<&mut Virtqueue<'_, AS::M>>)
    where
        C: Channel<AS::T>,
    {
        while let Some(completion) = self.channel.poll() {
            let index = completion.token as usize;
            let Some(request) = self.requests.get_mut(index) else {
                continue;
            };
            let (result, channel) = (completion.result, &mut self.channel);
            let Some(outcome) = request.resume(completion.token, result, channel, &self.shared)
            else {
                continue;
            };
            if let Some(queue) = &mut queue {
                complete(queue, request, outcome, &mut self.kept);
            }
            self.requests.give_back(index);
        }
    }
}

impl<C: Channel<AS::T>, AS: AddressSpace> Worker<AS> for BlkWorker<C> {
    fn kick(&mut self, _queue: u16, cx: &mut Cx<'_, AS>) -> Result<Progress> {
        self.drain::<AS>(false);
        self.serve(cx)
    }

    fn event(&mut self, _token: u16, cx: &mut Cx<'_, AS>) -> Result<Progress> {
        self.serve(cx)
    }

    fn gathers(&self) -> bool {
        true
    }

    fn sources(&self, add: &mut dyn FnMut(Source<'_>)) {
        let fds = [self.channel.completion_fd(), self.channel.timer_fd()];
        for (token, fd) in (0..).zip(fds) {
            if let Some(fd) = fd {
                add(Source {
                    token,
                    fd,
                    interest: Interest::Read,
                });
            }
        }
    }

    fn quiesce(&mut self, cx: &mut Cx<'_, AS>) -> Result<Progress> {
        if !self.draining && cx.host().is_reset(self.queue) {
            self.call_off::<AS>();
        }
        self.drain::<AS>(true);
        self.serve(cx)
    }
}

/// Answers a request that has ended, or keeps it.
fn complete<M: GuestMemory>(
    queue: &mut Virtqueue<'_, M>,
    request: &mut Request,
    outcome: Outcome,
    kept: &mut Vec<Chain>,
) {
    if outcome.kept {
        return kept.push(std::mem::take(&mut request.chain));
    }
    let view: &mut GuestView<'_, M> = queue.view();
    let used = request.answer(view, outcome);
    queue.push(&mut request.chain, used);
}
