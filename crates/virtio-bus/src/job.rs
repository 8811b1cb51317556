//! A worker with its queues: the unit that a runner runs.

use std::collections::VecDeque;
use std::sync::Arc;

use virtio_device::{
    AddressSpace, Cx, DeviceHost, Error, Interrupt, Progress, Reactor, Result, Ring, Source,
    Virtqueue, Worker,
};
use vmm_sys_util::eventfd::EventFd;

use crate::gather::Gather;
use crate::host::Host;

/// Why a job is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// The driver notified this queue.
    Kick(u16),
    /// The source watched under this token is ready.
    Source(u16),
}

/// A [`Worker`], the rings that it owns and what it needs to run. No thread, no lock: anybody can
/// drive it by [`dispatch`](Self::dispatch) and [`arm`](Self::arm).
pub struct Job<AS: AddressSpace> {
    worker: Box<dyn Worker<AS>>,
    /// By queue index; absent where the queue is another worker's, or off.
    rings: Vec<Option<Ring>>,
    kicks: Vec<(u16, Arc<EventFd>)>,
    memory: AS,
    interrupt: Arc<dyn Interrupt>,
    host: Arc<Host>,
    pending: VecDeque<Ready>,
    fault: Fault,
    /// Where the worker lets interrupts wait for one another.
    gather: Option<Gather>,
    /// Whether some do.
    waiting: bool,
}

/// How far a job is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// Some queue; the others go on.
    Queue,
    /// All of it.
    Worker,
}

impl<AS: AddressSpace> Job<AS> {
    pub(crate) fn new(
        worker: Box<dyn Worker<AS>>,
        queues: usize,
        memory: AS,
        interrupt: Arc<dyn Interrupt>,
        host: Arc<Host>,
    ) -> Self {
        let rings = std::iter::repeat_with(|| None).take(queues).collect();
        let (kicks, pending, fault) = (Vec::new(), VecDeque::new(), Fault::None);
        let gather = worker.gathers().then(Gather::new);
        Self {
            worker,
            rings,
            kicks,
            memory,
            interrupt,
            host,
            pending,
            fault,
            gather,
            waiting: false,
        }
    }

    /// The descriptor that the driver's notifications of each queue arrive on. Nonblocking; to be
    /// read before [`dispatch`](Self::dispatch).
    pub fn kicks(&self) -> &[(u16, Arc<EventFd>)] {
        &self.kicks
    }

    /// Names the other descriptors to watch from the start.
    pub fn sources(&self, add: &mut dyn FnMut(Source<'_>)) {
        self.worker.sources(add);
    }

    /// Calls the worker once: one snapshot of the memory map, one dynamic call, bounded work.
    /// Then see [`is_pending`](Self::is_pending).
    pub fn dispatch(&mut self, ready: Ready, reactor: &mut dyn Reactor) {
        if self.has_failed() {
            return;
        }
        let progress = self.call(reactor, |worker, cx| match ready {
            Ready::Kick(queue) => worker.kick(queue, cx),
            Ready::Source(token) => worker.event(token, cx),
        });
        if progress == Progress::Again {
            self.postpone(ready);
        }
        self.wait_or_tell();
    }

    /// Goes on with one thing that earlier calls left to do. Does nothing where nothing is.
    pub fn dispatch_pending(&mut self, reactor: &mut dyn Reactor) {
        match self.pending.pop_front() {
            Some(ready) => self.dispatch(ready, reactor),
            // A runner with other jobs may not come to arm this one for long.
            None if self.waiting => self.wait_or_tell(),
            None => {}
        }
    }

    /// Whether there is work that needs no further event.
    pub fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether the worker has failed. It is not called any more, so nobody reads its sources: they
    /// must not be watched any longer.
    pub fn has_failed(&self) -> bool {
        self.fault == Fault::Worker
    }

    /// Whether a buffer is available on a queue that has been drained: for polling before
    /// [`arm`](Self::arm). What was found is then pending.
    pub fn poll(&mut self) -> bool {
        self.each_drained(|queue| queue.has_available());
        self.is_pending()
    }

    /// Asks the driver to notify every queue that has been drained: to be called before waiting
    /// for events. True if something became available meanwhile; it is then pending.
    pub fn arm(&mut self) -> bool {
        if let Some(gather) = self.gather.as_mut().filter(|_| self.waiting) {
            gather.cut_short();
        }
        self.each_drained(|queue| queue.arm());
        self.tell();
        self.is_pending()
    }

    /// Starts nothing new and drains. [`Progress::InFlight`]: go on with ready sources, then call
    /// again.
    pub fn quiesce(&mut self, reactor: &mut dyn Reactor) -> Progress {
        self.let_nothing_wait();
        self.pending.clear();
        if self.has_failed() {
            return Progress::Idle;
        }
        let progress = self.call(reactor, |worker, cx| worker.quiesce(cx));
        self.pending.clear();
        progress
    }

    pub(crate) fn add_ring(&mut self, queue: u16, ring: Ring, kick: Arc<EventFd>) {
        if let Some(slot) = self.rings.get_mut(usize::from(queue)) {
            *slot = Some(ring);
            self.kicks.retain(|&(q, _)| q != queue);
            self.kicks.push((queue, kick));
        }
    }

    pub(crate) fn take_ring(&mut self, queue: u16) -> Option<Ring> {
        self.kicks.retain(|&(q, _)| q != queue);
        self.rings.get_mut(usize::from(queue))?.take()
    }

    pub(crate) fn into_parts(self) -> (Box<dyn Worker<AS>>, Vec<Option<Ring>>) {
        (self.worker, self.rings)
    }

    fn call(
        &mut self,
        reactor: &mut dyn Reactor,
        f: impl FnOnce(&mut dyn Worker<AS>, &mut Cx<'_, AS>) -> Result<Progress>,
    ) -> Progress {
        self.let_wait();
        let memory = self.memory.memory();
        let mut cx = Cx::new(
            &mut self.rings,
            &memory,
            &*self.interrupt,
            reactor,
            &*self.host,
        );
        let result = f(&mut *self.worker, &mut cx);
        let progress = result.unwrap_or_else(|error| self.fail(&error));
        self.look_after_rings();
        progress
    }

    /// The guest must hear of it once, and the log as well.
    fn fail(&mut self, error: &Error) -> Progress {
        if !matches!(error, Error::Queue(_)) && !self.has_failed() {
            self.host
                .complain(format_args!("a worker stops until a reset: {error}"));
            self.fault = Fault::Worker;
            self.host.needs_reset();
        }
        Progress::Idle
    }

    fn look_after_rings(&mut self) {
        self.waiting = false;
        for (queue, ring) in (0..).zip(&mut self.rings) {
            let Some(ring) = ring else { continue };
            self.waiting |= ring.is_waiting();
            if ring.take_more() && !self.pending.contains(&Ready::Kick(queue)) {
                self.pending.push_back(Ready::Kick(queue));
            }
            if let (Some(error), Fault::None) = (ring.broken(), self.fault) {
                self.host
                    .complain(format_args!("queue {queue} stops until a reset: {error}"));
                self.fault = Fault::Queue;
                self.host.needs_reset();
            }
        }
    }

    /// Has interrupts wait for one another as long as that makes sense. What is pending is done
    /// without a look at the queues, perhaps for ever: nothing waits for that.
    fn wait_or_tell(&mut self) {
        let gather = self.gather.as_mut();
        let enough = gather.is_some_and(|gather| gather.called(self.waiting));
        if enough || self.is_pending() {
            self.tell();
        }
    }

    /// The rings may go elsewhere after this.
    fn let_nothing_wait(&mut self) {
        self.tell();
        self.gather
            .iter_mut()
            .for_each(|gather| *gather = Gather::new());
        self.let_wait();
    }

    /// As many as may wait now, of each queue.
    fn let_wait(&mut self) {
        if let Some(gather) = &self.gather {
            let rings = self.rings.iter_mut().flatten();
            rings.for_each(|ring| ring.let_wait(gather.most()));
        }
    }

    /// Tells the driver of what it has been kept waiting for.
    fn tell(&mut self) {
        if !std::mem::take(&mut self.waiting) {
            return;
        }
        self.gather.iter_mut().for_each(Gather::told);
        let memory = self.memory.memory();
        for (index, ring) in (0..).zip(&mut self.rings) {
            let Some(ring) = ring.as_mut().filter(|ring| ring.is_waiting()) else {
                continue;
            };
            ring.let_wait(0);
            let memory: &AS::M = &memory;
            // Where the ring is broken, the driver hears of that.
            drop(Virtqueue::attach(index, ring, memory, &*self.interrupt));
        }
    }

    fn each_drained(&mut self, mut found: impl FnMut(&mut Virtqueue<'_, AS::M>) -> bool) {
        let memory = self.memory.memory();
        for (index, ring) in (0..).zip(&mut self.rings) {
            let Some(ring) = ring.as_mut().filter(|ring| ring.is_drained()) else {
                continue;
            };
            let memory: &AS::M = &memory;
            let Ok(mut queue) = Virtqueue::attach(index, ring, memory, &*self.interrupt) else {
                continue;
            };
            if found(&mut queue) && !self.pending.contains(&Ready::Kick(index)) {
                self.pending.push_back(Ready::Kick(index));
            }
        }
    }

    fn postpone(&mut self, ready: Ready) {
        if !self.pending.contains(&ready) {
            self.pending.push_back(ready);
        }
    }
}
