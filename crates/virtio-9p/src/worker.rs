//! The data plane: takes requests from the queue, and answers them at once or later.

use std::io;
use std::sync::Arc;

use p9_server::{FileSystem, Kind, Patience, Session};
use virtio_device::vm_memory::GuestMemory;
use virtio_device::{
    AddressSpace, Chain, Cx, GuestView, Interest, Progress, QueueError, Result, Source, Virtqueue,
    Worker,
};

use crate::executor::{Executor, Task};
use crate::flights::{Flights, Ticket, Waiting};
use crate::message::{Head, Tools};

/// Serves the queue of a [`NineP`](crate::NineP).
///
/// What the host has at hand is done at once, on the worker's own thread: a request costs no
/// hand-over then. What would wait goes to the executor, and is answered when it is done, in
/// whatever order that comes to be.
pub struct NinePWorker<F: FileSystem> {
    session: Arc<Session<F>>,
    executor: Option<Arc<dyn Executor>>,
    flights: Flights,
    chain: Chain,
    head: Head,
    tools: Tools,
    /// No new requests are taken, until the next kick.
    draining: bool,
}

impl<F: FileSystem> NinePWorker<F> {
    pub(crate) fn new(
        session: Arc<Session<F>>,
        executor: Option<Arc<dyn Executor>>,
    ) -> io::Result<Self> {
        Ok(Self {
            session,
            executor,
            flights: Flights::new()?,
            chain: Chain::new(),
            head: Head::new(),
            tools: Tools::default(),
            draining: false,
        })
    }

    fn work<AS: AddressSpace>(&mut self, cx: &mut Cx<'_, AS>) -> Result<Progress> {
        let memory = cx.memory();
        let Some(mut queue) = cx.queue(QUEUE) else {
            // Where the queue is broken there is nobody to answer.
            self.flights.land();
            while self.flights.next_due().is_some() {}
            return Ok(self.progress());
        };
        self.land(&mut queue);
        if !self.draining {
            self.take_all::<AS>(&mut queue, memory)?;
        }
        Ok(self.progress())
    }

    fn progress(&self) -> Progress {
        match self.flights.is_empty() {
            true => Progress::Idle,
            false => Progress::InFlight,
        }
    }

    fn take_all<AS: AddressSpace>(
        &mut self,
        queue: &mut Virtqueue<'_, AS::M>,
        memory: &AS::T,
    ) -> Result<(), QueueError> {
        while queue.pop(&mut self.chain)? {
            let view = queue.view();
            let written = match self.head.read(&self.chain, view) {
                Ok(()) => self.start::<AS>(view, memory),
                Err(None) => Some(0),
                Err(Some(errno)) => {
                    let refusal = (self.head.message.tag, errno);
                    let place = (&self.chain, view);
                    Some(self.tools.refuse(&self.session, refusal, place))
                }
            };
            if let Some(written) = written {
                queue.push(&mut self.chain, written);
            }
        }
        Ok(())
    }

    /// Serves the request in hand, or lets it go to where it is served. `None` if it is not here
    /// any more.
    fn start<AS: AddressSpace>(
        &mut self,
        view: &mut GuestView<'_, AS::M>,
        memory: &AS::T,
    ) -> Option<u32> {
        if let Some(tag) = self.head.flushes() {
            let chain = std::mem::take(&mut self.chain);
            self.chain = self.flights.flush(tag, chain, &self.head).err()?;
        } else if self.head.message.is(Kind::Tversion) && !self.flights.is_empty() {
            let chain = std::mem::take(&mut self.chain);
            self.flights.wait_for_all(chain, &self.head);
            return None;
        }
        let patience = match self.executor {
            Some(_) => Patience::None,
            None => Patience::Host,
        };
        let served = self.serve(view, patience);
        if served.is_none() {
            self.fly::<AS>(memory);
        }
        served
    }

    fn serve<M: GuestMemory>(
        &mut self,
        view: &mut GuestView<'_, M>,
        patience: Patience<'_>,
    ) -> Option<u32> {
        let Self {
            session,
            chain,
            head,
            tools,
            ..
        } = self;
        head.serve(session, (chain, view), patience, tools)
    }

    /// Hands the request over.
    fn fly<AS: AddressSpace>(&mut self, memory: &AS::T) {
        let chain = std::mem::take(&mut self.chain);
        let ticket = self.flights.add(self.head.message.tag, chain);
        let (session, head) = (Arc::clone(&self.session), self.head.clone());
        let memory = memory.clone();
        let task: Task = Box::new(move || {
            let mut view = GuestView::<AS::M>::new(&memory);
            serve_elsewhere(&session, &head, ticket, &mut view);
        });
        let refused = self.executor.as_ref().and_then(|to| to.execute(task).err());
        if let Some(task) = refused {
            task();
        }
    }

    /// Answers what was served elsewhere, and what has waited for that.
    fn land<M: GuestMemory>(&mut self, queue: &mut Virtqueue<'_, M>) {
        for mut landing in self.flights.land() {
            // One that was given up in time gets no reply (flush(5)).
            let silent = landing.broken_off && self.flights.is_flushed(&landing);
            let written = if silent { 0 } else { landing.written };
            queue.push(&mut landing.chain, written);
        }
        while let Some(Waiting {
            mut chain, head, ..
        }) = self.flights.next_due()
        {
            let at = (&chain, queue.view());
            let written = match head.flushes() {
                Some(_) => self.tools.flushed(&self.session, head.message.tag, at),
                None => {
                    let served = head.serve(&self.session, at, Patience::Host, &mut self.tools);
                    served.unwrap_or(0)
                }
            };
            queue.push(&mut chain, written);
        }
    }
}

impl<F: FileSystem, AS: AddressSpace> Worker<AS> for NinePWorker<F> {
    fn kick(&mut self, _queue: u16, cx: &mut Cx<'_, AS>) -> Result<Progress> {
        self.draining = false;
        self.work(cx)
    }

    fn event(&mut self, _token: u16, cx: &mut Cx<'_, AS>) -> Result<Progress> {
        self.flights.heard();
        self.work(cx)
    }

    fn sources(&self, add: &mut dyn FnMut(Source<'_>)) {
        add(Source {
            token: LANDINGS,
            fd: self.flights.bell(),
            interest: Interest::Read,
        });
    }

    fn quiesce(&mut self, cx: &mut Cx<'_, AS>) -> Result<Progress> {
        self.draining = true;
        self.flights.cancel_all();
        self.work(cx)
    }
}

/// Serves a request on another thread than the worker's.
fn serve_elsewhere<F: FileSystem, M: GuestMemory>(
    session: &Session<F>,
    head: &Head,
    ticket: Ticket,
    view: &mut GuestView<'_, M>,
) {
    let (mut tools, cancel) = (Tools::default(), Arc::clone(&ticket.cancel));
    let patience = Patience::Until(&cancel);
    let served = ticket
        .chain()
        .and_then(|chain| head.serve(session, (chain, view), patience, &mut tools));
    ticket.land(served.unwrap_or(0), tools.was_broken_off());
}

const QUEUE: u16 = 0;
const LANDINGS: u16 = 0;
