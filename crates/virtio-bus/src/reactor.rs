//! A job on an epoll descriptor: what the thread runner and the inline runner share.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

use virtio_device::{AddressSpace, Interest, Progress, Reactor, Source};
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};

use crate::{Job, NotStarted, Ready};

/// A job and the epoll instance that watches its descriptors.
pub(crate) struct JobLoop<AS: AddressSpace> {
    pub(crate) job: Job<AS>,
    reactor: EpollReactor,
}

/// Readable when something is ready.
impl<AS: AddressSpace> AsRawFd for JobLoop<AS> {
    fn as_raw_fd(&self) -> RawFd {
        self.reactor.epoll.as_raw_fd()
    }
}

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nothing was ready.
    Idle,
    /// Something was, and the job has been called.
    Worked,
    /// The stop descriptor was written.
    Stop,
}

/// The events that ended a wait.
pub(crate) struct Fired {
    events: [EpollEvent; 16],
    count: usize,
}

impl<AS: AddressSpace> JobLoop<AS> {
    pub(crate) fn new(job: Job<AS>) -> Result<Self, NotStarted<AS>> {
        match EpollReactor::of(&job) {
            Ok(reactor) => Ok(Self { job, reactor }),
            Err(error) => Err(NotStarted::new(job, error)),
        }
    }

    /// Has waits end when `fd` becomes readable.
    pub(crate) fn stop_on(&mut self, fd: RawFd) -> io::Result<()> {
        self.reactor.stop = Some(fd);
        self.reactor.add(fd, EventSet::IN, STOP)
    }

    /// Waits for events, at most `timeout` milliseconds (-1: for ever), and calls the job for
    /// each.
    pub(crate) fn turn(&mut self, timeout: i32) -> Turn {
        let fired = self.wait(timeout);
        self.serve_all(&fired)
    }

    /// The first half of a [`turn`](Self::turn).
    pub(crate) fn wait(&self, timeout: i32) -> Fired {
        let mut events = [EpollEvent::default(); 16];
        // EINTR; nothing else can happen to a descriptor of our own.
        let count = self.reactor.epoll.wait(timeout, &mut events).unwrap_or(0);
        Fired { events, count }
    }

    /// The second half.
    pub(crate) fn serve_all(&mut self, fired: &Fired) -> Turn {
        let mut turn = Turn::Idle;
        for event in fired.events.iter().take(fired.count) {
            if event.data() == STOP {
                return Turn::Stop;
            }
            self.serve(event.data());
            turn = Turn::Worked;
        }
        turn
    }

    /// Goes on with one thing that was left to do.
    pub(crate) fn go_on(&mut self) {
        self.job.dispatch_pending(&mut self.reactor);
        self.let_go_of_failed();
    }

    /// Drains the job, waiting as long as it takes.
    pub(crate) fn drain(mut self) -> Job<AS> {
        self.begin_to_drain();
        loop {
            match self.quiesce() {
                Progress::Idle => return self.job,
                Progress::Again => {}
                Progress::InFlight => drop(self.turn(DRAIN_WAIT)),
            }
        }
    }

    /// The first step of [`drain`](Self::drain): nothing new is started any more.
    pub(crate) fn begin_to_drain(&mut self) {
        self.reactor.watch_sources_only(&self.job);
    }

    /// The step that is repeated, in between with a turn when something is ready, or after
    /// [`DRAIN_WAIT`], until it is idle.
    pub(crate) fn quiesce(&mut self) -> Progress {
        self.job.quiesce(&mut self.reactor)
    }

    fn serve(&mut self, data: u64) {
        let index = data as u16;
        if data & KICK == 0 {
            self.job.dispatch(Ready::Source(index), &mut self.reactor);
        } else {
            if let Some((_, fd)) = self.job.kicks().iter().find(|(queue, _)| *queue == index) {
                let _ = fd.read();
            }
            self.job.dispatch(Ready::Kick(index), &mut self.reactor);
        }
        self.let_go_of_failed();
    }

    fn let_go_of_failed(&mut self) {
        if self.job.has_failed() {
            let sources = std::mem::take(&mut self.reactor.sources);
            sources.into_values().for_each(|fd| self.reactor.remove(fd));
        }
    }
}

/// [`Reactor`] on epoll. Remembers what it watches under which token.
struct EpollReactor {
    epoll: Epoll,
    stop: Option<RawFd>,
    sources: BTreeMap<u16, RawFd>,
}

impl EpollReactor {
    /// Watches what `job` is to be called for.
    fn of<AS: AddressSpace>(job: &Job<AS>) -> io::Result<Self> {
        let mut reactor = Self {
            epoll: Epoll::new()?,
            stop: None,
            sources: BTreeMap::new(),
        };
        for (queue, fd) in job.kicks() {
            reactor.add(fd.as_raw_fd(), EventSet::IN, KICK | u64::from(*queue))?;
        }
        let mut watched = Ok(());
        job.sources(&mut |source| {
            if let Err(error) = reactor.watch(source) {
                watched = Err(error);
            }
        });
        watched.map(|()| reactor)
    }

    /// No more kicks, which start new work, and no more order to stop: nobody reads these any more,
    /// so that a wait would end at once.
    fn watch_sources_only<AS: AddressSpace>(&mut self, job: &Job<AS>) {
        let kicks = job.kicks().iter().map(|(_, fd)| fd.as_raw_fd());
        kicks.chain(self.stop.take()).for_each(|fd| self.remove(fd));
    }

    fn remove(&self, fd: RawFd) {
        // A descriptor that has been closed is no longer watched anyway.
        let delete = ControlOperation::Delete;
        let _ = self.epoll.ctl(delete, fd, EpollEvent::default());
    }

    fn add(&self, fd: RawFd, events: EventSet, data: u64) -> io::Result<()> {
        self.epoll
            .ctl(ControlOperation::Add, fd, EpollEvent::new(events, data))
    }
}

impl Reactor for EpollReactor {
    fn watch(&mut self, source: Source<'_>) -> io::Result<()> {
        let fd = source.fd.as_raw_fd();
        let events = events(source.interest);
        let event = EpollEvent::new(events, source.token.into());
        if self.sources.get(&source.token) == Some(&fd)
            && self.epoll.ctl(ControlOperation::Modify, fd, event).is_ok()
        {
            return Ok(());
        }
        self.unwatch(source.token);
        self.epoll.ctl(ControlOperation::Add, fd, event)?;
        self.sources.insert(source.token, fd);
        Ok(())
    }

    fn unwatch(&mut self, token: u16) {
        if let Some(fd) = self.sources.remove(&token) {
            self.remove(fd);
        }
    }
}

/// What epoll calls this interest.
pub(crate) fn events(interest: Interest) -> EventSet {
    match interest {
        Interest::Read => EventSet::IN,
        Interest::Write => EventSet::OUT,
        Interest::ReadWrite => EventSet::IN | EventSet::OUT,
    }
}

/// Marks the number of a queue rather than the token of a source.
const KICK: u64 = 1 << 16;
const STOP: u64 = 1 << 17;
/// Milliseconds to wait for what is in flight. Not for ever: the source that ended the last request
/// may have been served in the same turn as a kick.
pub(crate) const DRAIN_WAIT: i32 = 10;
