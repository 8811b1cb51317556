//! The data plane: a poll-style state machine that owns a group of queues.

use std::any::Any;
use std::io;
use std::os::fd::BorrowedFd;

use crate::{AddressSpace, DeviceHost, GuestView, Interrupt, Result, Ring, Virtqueue};

/// The data plane of a device.
///
/// No thread, no future and no lock inside: whoever owns the worker calls it when something is
/// ready, and each call does a bounded amount of work and returns. So the same code runs under
/// epoll, an event manager, an asynchronous runtime, a vhost-user daemon's loop or a fuzzer.
pub trait Worker<AS: AddressSpace>: Any + Send {
    /// The driver notified `queue` (or the VMM wants it looked at).
    ///
    /// # Errors
    /// A [`QueueError`](crate::QueueError) stops the queue in question, any other error all queues
    /// of this worker; the device then needs a reset. After such an error the worker is not called
    /// any more, to drain either: nothing may be in flight by then.
    fn kick(&mut self, queue: u16, cx: &mut Cx<'_, AS>) -> Result<Progress>;

    /// The source watched under `token` is ready.
    ///
    /// # Errors
    /// As [`kick`](Self::kick).
    fn event(&mut self, token: u16, cx: &mut Cx<'_, AS>) -> Result<Progress> {
        let _ = (token, cx);
        Ok(Progress::Idle)
    }

    /// Names the descriptors to watch whenever somebody begins to run the worker: at its start, and
    /// again after a queue of it was reset. Changes meanwhile go through [`Cx::watch`] and
    /// [`Cx::unwatch`].
    fn sources(&self, add: &mut dyn FnMut(Source<'_>)) {
        let _ = add;
    }

    /// Whether interrupts may wait a moment for one another, while whoever runs the worker polls its
    /// queues: where a request is likely to be followed by another, as those of a disk. Not where
    /// buffers are used for reasons of their own, a frame that was received, say.
    fn gathers(&self) -> bool {
        false
    }

    /// Starts no new work and drains what is in flight for every queue; called again after each
    /// ready source until it no longer says [`Progress::InFlight`].
    ///
    /// # Errors
    /// As [`kick`](Self::kick); the worker then counts as quiesced.
    fn quiesce(&mut self, cx: &mut Cx<'_, AS>) -> Result<Progress> {
        let _ = cx;
        Ok(Progress::Idle)
    }
}

/// Where a call of a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing more to do until the next notification or event.
    Idle,
    /// More to do at once: call again with the same argument. (A queue whose budget ran out is
    /// called again without this.)
    Again,
    /// Requests are in flight; a watched source will say when they end.
    InFlight,
}

/// Readiness that a worker wants to hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Readable.
    Read,
    /// Writable.
    Write,
    /// Either.
    ReadWrite,
}

/// A descriptor to watch, and the token under which [`Worker::event`] hears of it.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Chosen by the worker, unique within it.
    pub token: u16,
    /// Level-triggered.
    pub fd: BorrowedFd<'a>,
    /// What to watch for.
    pub interest: Interest,
}

/// The event loop around a worker, as far as a worker may change it.
pub trait Reactor {
    /// Watches `source`, in place of what was watched under its token before.
    ///
    /// # Errors
    /// Where the descriptor cannot be watched (a regular file) or the host is out of resources.
    fn watch(&mut self, source: Source<'_>) -> io::Result<()>;

    /// Stops watching what was watched under `token`, if anything. Call it before the descriptor
    /// is closed.
    fn unwatch(&mut self, token: u16);
}

/// What a worker is lent for one call: its queues, guest memory, the event loop and its host.
///
/// Two conventions make device code short. A queue that the worker has popped until it was empty
/// is armed for the driver's next notification by whoever runs the worker, and one that it left
/// non-empty is not. And completions are published at the latest when the [`Virtqueue`] is
/// dropped, so that an early return loses none.
pub struct Cx<'a, AS: AddressSpace> {
    rings: &'a mut [Option<Ring>],
    memory: &'a AS::T,
    interrupt: &'a dyn Interrupt,
    reactor: &'a mut dyn Reactor,
    host: &'a dyn DeviceHost,
}

impl<'a, AS: AddressSpace> Cx<'a, AS> {
    /// For those who run workers: the rings are indexed by queue, absent where another worker owns
    /// the queue or the driver left it off.
    pub fn new(
        rings: &'a mut [Option<Ring>],
        memory: &'a AS::T,
        interrupt: &'a dyn Interrupt,
        reactor: &'a mut dyn Reactor,
        host: &'a dyn DeviceHost,
    ) -> Self {
        Self {
            rings,
            memory,
            interrupt,
            reactor,
            host,
        }
    }

    /// The queue of this index, ready for use; `None` where this worker does not have it at the
    /// moment or it is broken.
    pub fn queue(&mut self, index: u16) -> Option<Virtqueue<'_, AS::M>> {
        let ring = self.rings.get_mut(usize::from(index))?.as_mut()?;
        let memory: &AS::M = self.memory;
        Virtqueue::attach(index, ring, memory, self.interrupt).ok()
    }

    /// The memory map of this call. A clone of it keeps the memory mapped beyond the call, for
    /// asynchronous I/O.
    pub fn memory(&self) -> &'a AS::T {
        self.memory
    }

    /// A view of guest memory outside any queue.
    pub fn view(&self) -> GuestView<'a, AS::M> {
        GuestView::new(self.memory)
    }

    /// See [`Reactor::watch`].
    ///
    /// # Errors
    /// As there.
    pub fn watch(&mut self, source: Source<'_>) -> io::Result<()> {
        self.reactor.watch(source)
    }

    /// See [`Reactor::unwatch`].
    pub fn unwatch(&mut self, token: u16) {
        self.reactor.unwatch(token);
    }

    /// The device's way to reach its driver outside the rings.
    pub fn host(&self) -> &'a dyn DeviceHost {
        self.host
    }
}
