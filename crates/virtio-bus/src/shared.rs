//! One thread for many jobs.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SendError, Sender, TryRecvError};
use std::time::{Duration, Instant};

use virtio_device::{AddressSpace, Progress};
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::activity::{Activity, Presence};
use crate::patience::Patience;
use crate::reactor::{DRAIN_WAIT, JobLoop, Turn};
use crate::stopped::End;
use crate::{Job, NotStarted, Runner, Running, Stopped};

/// Serves all its jobs on one thread, in turn: what QEMU calls an iothread.
///
/// The thread is the VMM's: [`new`](Self::new) says what it is to do. It polls before it sleeps, as
/// that of a [`ThreadRunner`](crate::ThreadRunner). Dropping the runner ends the thread when the
/// last job has stopped.
///
/// A listener of [`Running::when_stopped`] is called on this thread. It must not wait for jobs that
/// run here and have not stopped.
pub struct SharedThread<AS: AddressSpace> {
    arrivals: Sender<(u64, Tenant<AS>)>,
    next: AtomicU64,
    /// Dropped after the other end of the arrivals was.
    bell: Bell,
}

impl<AS: AddressSpace> SharedThread<AS> {
    /// A runner, and what its thread is to do, which polls for `poll` at most before it sleeps. If
    /// this is dropped, or panics, its jobs are lost and no other can be started.
    ///
    /// # Errors
    /// A host that has no descriptors left.
    pub fn new(poll: Duration) -> io::Result<(Self, impl FnOnce() + Send + use<AS>)> {
        Self::with_activity(poll, None)
    }

    /// The same with a thread that tells `activity`, if there is one, whether it has something to
    /// do.
    ///
    /// # Errors
    /// A host that has no descriptors left.
    pub fn with_activity(
        poll: Duration,
        activity: Option<&Activity>,
    ) -> io::Result<(Self, impl FnOnce() + Send + use<AS>)> {
        let shared = Arc::new(Shared::new(poll)?);
        let presence = Presence::new(activity, &shared.epoll)?;
        let (arrivals, inbox) = mpsc::channel();
        let house = House {
            shared: Arc::clone(&shared),
            inbox,
            open: true,
            tenants: BTreeMap::new(),
            presence,
        };
        let runner = Self {
            arrivals,
            next: AtomicU64::new(0),
            bell: Bell(shared),
        };
        Ok((runner, move || house.keep()))
    }

    /// Has the thread poll for `poll` at most from now on.
    pub fn set_poll(&self, poll: Duration) {
        self.bell.0.set_poll(poll);
    }

    /// Has the thread wake for `job`, and for who stops it.
    fn watch(&self, job: &mut JobLoop<AS>) -> io::Result<(u64, EventFd)> {
        let stop = EventFd::new(EFD_NONBLOCK)?;
        job.stop_on(stop.as_raw_fd())?;
        let key = self.next.fetch_add(1, Ordering::Relaxed);
        let events = EpollEvent::new(EventSet::IN, key);
        let epoll = &self.bell.0.epoll;
        epoll.ctl(ControlOperation::Add, job.as_raw_fd(), events)?;
        Ok((key, stop))
    }
}

impl<AS: AddressSpace> Runner<AS> for SharedThread<AS> {
    fn start(&self, job: Job<AS>) -> Result<Box<dyn Running<AS>>, NotStarted<AS>> {
        let mut job = JobLoop::new(job)?;
        let (key, stop) = match self.watch(&mut job) {
            Ok(watched) => watched,
            Err(error) => return Err(NotStarted::new(job.job, error)),
        };
        let stopped = Arc::new(Stopped::new());
        let end = End(Arc::clone(&stopped));
        let tenant = Tenant {
            job,
            end,
            leaving: None,
        };
        if let Err(SendError((_, tenant))) = self.arrivals.send((key, tenant)) {
            let error = io::Error::other("the thread has ended");
            return Err(NotStarted::new(tenant.job.job, error));
        }
        self.bell.0.ring();
        Ok(Box::new(RunningTenant { stop, stopped }))
    }
}

/// What the thread waits on.
struct Shared {
    /// Has the bell, and of each job what is readable when the job is ready.
    epoll: Epoll,
    bell: EventFd,
    /// Nanoseconds that it polls before.
    poll: AtomicU64,
}

impl Shared {
    fn new(poll: Duration) -> io::Result<Self> {
        let (epoll, bell) = (Epoll::new()?, EventFd::new(EFD_NONBLOCK)?);
        let events = EpollEvent::new(EventSet::IN, BELL);
        epoll.ctl(ControlOperation::Add, bell.as_raw_fd(), events)?;
        let shared = Self {
            epoll,
            bell,
            poll: AtomicU64::default(),
        };
        shared.set_poll(poll);
        Ok(shared)
    }

    fn set_poll(&self, poll: Duration) {
        let nanoseconds = u64::try_from(poll.as_nanos()).unwrap_or(u64::MAX);
        self.poll.store(nanoseconds, Ordering::Relaxed);
    }

    fn poll(&self) -> Duration {
        Duration::from_nanos(self.poll.load(Ordering::Relaxed))
    }

    fn ring(&self) {
        let _ = self.bell.write(1);
    }
}

/// Rings when nobody can come any more.
struct Bell(Arc<Shared>);

impl Drop for Bell {
    fn drop(&mut self) {
        self.0.ring();
    }
}

/// A job, and where it is left when it has stopped.
struct Tenant<AS: AddressSpace> {
    job: JobLoop<AS>,
    end: End<AS>,
    /// How far it has got with what is in flight, once it starts nothing new and is to leave.
    leaving: Option<Progress>,
}

impl<AS: AddressSpace> Tenant<AS> {
    /// Serves what is ready.
    fn serve(&mut self) {
        if self.job.turn(0) == Turn::Stop {
            self.leaving = Some(Progress::Again);
            self.job.begin_to_drain();
        }
    }

    fn is_pending(&self) -> bool {
        match self.leaving {
            None => self.job.job.is_pending(),
            Some(progress) => progress == Progress::Again,
        }
    }

    /// Goes on leaving, if it is. True when it is done.
    fn leave(&mut self) -> bool {
        if self.leaving.is_some() {
            self.leaving = Some(self.job.quiesce());
        }
        self.leaving == Some(Progress::Idle)
    }
}

/// The thread's side.
struct House<AS: AddressSpace> {
    shared: Arc<Shared>,
    inbox: Receiver<(u64, Tenant<AS>)>,
    /// Whether others may come.
    open: bool,
    tenants: BTreeMap<u64, Tenant<AS>>,
    presence: Presence,
}

impl<AS: AddressSpace> House<AS> {
    fn keep(mut self) {
        self.presence.wake();
        let mut patience = Patience::new(Duration::ZERO);
        while self.open || !self.tenants.is_empty() {
            patience.limit = self.shared.poll();
            let wait = !(self.is_pending() || patience.poll(|| self.look()) || self.arm());
            let asleep = wait.then(Instant::now);
            let ready = self.wait(wait);
            if let Some(asleep) = asleep {
                patience.woke(asleep);
            }
            self.serve(&ready);
            self.see_off();
        }
    }

    fn is_pending(&self) -> bool {
        self.tenants.values().any(Tenant::is_pending)
    }

    /// Looks at drained queues, until one has work.
    fn look(&mut self) -> bool {
        self.staying().any(|tenant| tenant.job.job.poll())
    }

    /// Asks for notifications of all drained queues, or of those before one that has work.
    fn arm(&mut self) -> bool {
        self.staying().any(|tenant| tenant.job.job.arm())
    }

    fn staying(&mut self) -> impl Iterator<Item = &mut Tenant<AS>> {
        self.tenants
            .values_mut()
            .filter(|tenant| tenant.leaving.is_none())
    }

    /// Who is ready; `block` until somebody is.
    fn wait(&mut self, block: bool) -> Vec<u64> {
        let leaving = self.tenants.values().any(|tenant| tenant.leaving.is_some());
        let (epoll, mut events) = (&self.shared.epoll, [EpollEvent::default(); 16]);
        let mut wait = |timeout| epoll.wait(timeout, &mut events);
        let count = match (block, leaving) {
            (false, _) => wait(0),
            (true, true) => wait(DRAIN_WAIT),
            (true, false) => self.presence.sleep(|| wait(-1)),
        };
        // EINTR; nothing else can happen to a descriptor of our own.
        let ready = events.iter().take(count.unwrap_or(0));
        ready.map(EpollEvent::data).collect()
    }

    /// One call for each that is ready, and one for each that has left something to do.
    fn serve(&mut self, ready: &[u64]) {
        for key in ready {
            match self.tenants.get_mut(key) {
                Some(tenant) => tenant.serve(),
                None => self.let_in(),
            }
        }
        self.staying().for_each(|tenant| tenant.job.go_on());
    }

    /// The bell may not have rung yet for somebody who is ready.
    fn let_in(&mut self) {
        let _ = self.shared.bell.read();
        loop {
            match self.inbox.try_recv() {
                Ok((key, tenant)) => drop(self.tenants.insert(key, tenant)),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {
                    self.open = false;
                    return;
                }
            }
        }
    }

    /// Ends those whose work is done.
    fn see_off(&mut self) {
        let tenants = self.tenants.iter_mut();
        let done = tenants.filter_map(|(key, tenant)| tenant.leave().then_some(*key));
        for key in done.collect::<Vec<_>>() {
            if let Some(Tenant { job, end, .. }) = self.tenants.remove(&key) {
                let (delete, fd) = (ControlOperation::Delete, job.as_raw_fd());
                let _ = self.shared.epoll.ctl(delete, fd, EpollEvent::default());
                end.0.tell(Some(job.job));
            }
        }
    }
}

impl<AS: AddressSpace> Drop for House<AS> {
    fn drop(&mut self) {
        // The runner may still ring, and nobody hears it.
        let (epoll, bell) = (&self.shared.epoll, self.shared.bell.as_raw_fd());
        let _ = epoll.ctl(ControlOperation::Delete, bell, EpollEvent::default());
    }
}

struct RunningTenant<AS: AddressSpace> {
    stop: EventFd,
    stopped: Arc<Stopped<AS>>,
}

impl<AS: AddressSpace> Running<AS> for RunningTenant<AS> {
    fn stop(&self) {
        let _ = self.stop.write(1);
    }

    fn is_stopped(&self) -> bool {
        self.stopped.has_ended()
    }

    fn when_stopped(&self, then: Box<dyn FnOnce() + Send>) {
        self.stopped.when_ended(then);
    }

    fn join(self: Box<Self>) -> Option<Job<AS>> {
        self.stop();
        self.stopped.wait()
    }
}

/// The key that no job has.
const BELL: u64 = u64::MAX;
