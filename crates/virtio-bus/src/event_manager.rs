//! A job as a subscriber of rust-vmm's event-manager.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

use event_manager::{EventOps, EventSet, Events, MutEventSubscriber};
use virtio_device::{AddressSpace, Reactor, Source};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::reactor::{JobLoop, events};
use crate::{Job, NotStarted, Ready};

/// Serves a [`Job`] on whatever thread runs the event manager.
///
/// A [`Runner`](crate::Runner) on top of it adds a subscriber in `start`; in `join` it removes it
/// from the manager and calls [`into_job`](Self::into_job).
pub struct JobSubscriber<AS: AddressSpace> {
    job: Job<AS>,
    /// Readable while the job has work that needs no event.
    pending: EventFd,
    sources: BTreeMap<u16, RawFd>,
}

impl<AS: AddressSpace> JobSubscriber<AS> {
    /// A subscriber for `job`.
    ///
    /// # Errors
    /// Where the host has no descriptors left.
    pub fn new(job: Job<AS>) -> Result<Self, NotStarted<AS>> {
        match EventFd::new(EFD_NONBLOCK) {
            Ok(pending) => Ok(Self {
                job,
                pending,
                sources: BTreeMap::new(),
            }),
            Err(error) => Err(NotStarted::new(job, error)),
        }
    }

    /// Drains the job, waiting as long as that takes, and hands it back.
    ///
    /// # Errors
    /// Where the host has no descriptors left to wait on.
    pub fn into_job(self) -> io::Result<Job<AS>> {
        let job = JobLoop::new(self.job).map_err(|refused| refused.error)?;
        Ok(job.drain())
    }

    /// The manager waits after this: what is drained must be armed, what is left must be seen.
    fn settle(&mut self) {
        if self.job.is_pending() || self.job.arm() {
            let _ = self.pending.write(1);
        }
    }
}

impl<AS: AddressSpace> MutEventSubscriber for JobSubscriber<AS> {
    fn init(&mut self, ops: &mut EventOps<'_>) {
        let mut reactor = OpsReactor {
            ops,
            sources: &mut self.sources,
        };
        for (queue, fd) in self.job.kicks() {
            reactor.add(fd.as_raw_fd(), EventSet::IN, KICK | u32::from(*queue));
        }
        reactor.add(self.pending.as_raw_fd(), EventSet::IN, PENDING);
        self.job.sources(&mut |source| {
            if let Err(error) = reactor.watch(source) {
                log::warn!("a device's descriptor cannot be watched: {error}");
            }
        });
    }

    fn process(&mut self, events: Events, ops: &mut EventOps<'_>) {
        let (data, index) = (events.data(), events.data() as u16);
        let mut reactor = OpsReactor {
            ops,
            sources: &mut self.sources,
        };
        if data == PENDING {
            let _ = self.pending.read();
            self.job.dispatch_pending(&mut reactor);
        } else if data & KICK != 0 {
            if let Some((_, fd)) = self.job.kicks().iter().find(|(queue, _)| *queue == index) {
                let _ = fd.read();
            }
            self.job.dispatch(Ready::Kick(index), &mut reactor);
        } else {
            self.job.dispatch(Ready::Source(index), &mut reactor);
        }
        if self.job.has_failed() {
            reactor.unwatch_all();
        }
        self.settle();
    }
}

struct OpsReactor<'a, 'b> {
    ops: &'a mut EventOps<'b>,
    sources: &'a mut BTreeMap<u16, RawFd>,
}

impl OpsReactor<'_, '_> {
    fn unwatch_all(&mut self) {
        for fd in std::mem::take(self.sources).into_values() {
            let _ = self.ops.remove(Events::empty_raw(fd));
        }
    }

    fn add(&mut self, fd: RawFd, events: EventSet, data: u32) {
        if let Err(error) = self.ops.add(Events::with_data_raw(fd, data, events)) {
            log::warn!("a device's descriptor cannot be watched: {error}");
        }
    }
}

impl Reactor for OpsReactor<'_, '_> {
    fn watch(&mut self, source: Source<'_>) -> io::Result<()> {
        let fd = source.fd.as_raw_fd();
        let events = events(source.interest);
        self.unwatch(source.token);
        let events = Events::with_data_raw(fd, source.token.into(), events);
        self.ops
            .add(events)
            .map_err(|error| io::Error::other(error.to_string()))?;
        self.sources.insert(source.token, fd);
        Ok(())
    }

    fn unwatch(&mut self, token: u16) {
        if let Some(fd) = self.sources.remove(&token) {
            // A descriptor that has been closed is no longer watched anyway.
            let _ = self.ops.remove(Events::empty_raw(fd));
        }
    }
}

const KICK: u32 = 1 << 16;
const PENDING: u32 = 1 << 17;
