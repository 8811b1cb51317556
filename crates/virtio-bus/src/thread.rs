//! A thread per job.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use virtio_device::AddressSpace;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::activity::{Activity, Presence};
use crate::patience::Patience;
use crate::reactor::{JobLoop, Turn};
use crate::stopped::End;
use crate::{Job, NotStarted, Runner, Running, Stopped};

/// Gives every job a thread of its own.
///
/// Before it sleeps, a thread polls its drained queues for a while: under load the driver then
/// never needs to notify, which saves it an exit per request. It polls some times as long as its
/// last work took, so that what is wasted stays in proportion to what is done, on fast hosts and on
/// slow ones; and only if a sleep of about that length came before. [`poll`](Self::poll) sets the
/// limit.
#[derive(Clone)]
pub struct ThreadRunner {
    name: String,
    poll: Duration,
    on_start: Option<Arc<dyn Fn() + Send + Sync>>,
    activity: Option<Activity>,
}

impl ThreadRunner {
    /// Threads called `name` (of which the system shows 15 bytes), polling a millisecond at most.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            poll: Duration::from_millis(1),
            on_start: None,
            activity: None,
        }
    }

    /// How long a thread polls at most before it sleeps; zero turns polling off.
    #[must_use]
    pub fn poll(mut self, limit: Duration) -> Self {
        self.poll = limit;
        self
    }

    /// Something to do at the start of every thread: a system call filter, a scheduling class.
    #[must_use]
    pub fn on_start(mut self, f: impl Fn() + Send + Sync + 'static) -> Self {
        self.on_start = Some(Arc::new(f));
        self
    }

    /// Where every thread tells whether it has something to do.
    #[must_use]
    pub fn activity(mut self, activity: &Activity) -> Self {
        self.activity = Some(activity.clone());
        self
    }
}

impl<AS: AddressSpace> Runner<AS> for ThreadRunner {
    fn start(&self, job: Job<AS>) -> Result<Box<dyn Running<AS>>, NotStarted<AS>> {
        let mut job = JobLoop::new(job)?;
        match self.spawn(&mut job) {
            Ok((running, hand_over)) => {
                // The thread is there and receives it; should it have died, join will tell.
                let _ = hand_over.send(job);
                Ok(Box::new(running))
            }
            Err(error) => Err(NotStarted::new(job.job, error)),
        }
    }
}

impl ThreadRunner {
    /// A thread that waits for `job`, so that the job is still at hand where there is no thread.
    fn spawn<AS: AddressSpace>(
        &self,
        job: &mut JobLoop<AS>,
    ) -> io::Result<(RunningThread<AS>, Sender<JobLoop<AS>>)> {
        let stop = EventFd::new(EFD_NONBLOCK)?;
        job.stop_on(stop.as_raw_fd())?;
        let mut presence = Presence::new(self.activity.as_ref(), job)?;
        let (hand_over, receive) = std::sync::mpsc::channel();
        let (on_start, limit) = (self.on_start.clone(), self.poll);
        let stopped = Arc::new(Stopped::new());
        let end = End(stopped.clone());
        let thread = std::thread::Builder::new()
            .name(self.name.clone())
            .stack_size(STACK)
            .spawn(move || {
                if let Some(f) = on_start {
                    f();
                }
                let job = receive.recv().ok();
                end.0.tell(job.map(|job| run(job, limit, &mut presence)));
            })?;
        let running = RunningThread {
            thread,
            stop,
            stopped,
            heard: AtomicBool::new(false),
        };
        Ok((running, hand_over))
    }
}

struct RunningThread<AS: AddressSpace> {
    thread: JoinHandle<()>,
    stop: EventFd,
    stopped: Arc<Stopped<AS>>,
    /// Whether somebody listens for the end.
    heard: AtomicBool,
}

impl<AS: AddressSpace> Running<AS> for RunningThread<AS> {
    fn stop(&self) {
        let _ = self.stop.write(1);
    }

    fn is_stopped(&self) -> bool {
        self.stopped.has_ended()
    }

    fn when_stopped(&self, then: Box<dyn FnOnce() + Send>) {
        self.heard.store(true, Ordering::Relaxed);
        self.stopped.when_ended(then);
    }

    fn join(self: Box<Self>) -> Option<Job<AS>> {
        self.stop();
        let job = self.stopped.wait();
        // A thread that tells of its end may have to wait for a lock held here, or be this one.
        if !self.heard.into_inner() {
            let _ = self.thread.join();
        }
        job
    }
}

fn run<AS: AddressSpace>(
    mut job: JobLoop<AS>,
    limit: Duration,
    presence: &mut Presence,
) -> Job<AS> {
    presence.wake();
    let mut patience = Patience::new(limit);
    loop {
        let wait = !(job.job.is_pending() || patience.poll(|| job.job.poll()) || job.job.arm());
        let asleep = wait.then(Instant::now);
        let fired = match wait {
            true => presence.sleep(|| job.wait(-1)),
            false => job.wait(0),
        };
        if let Some(asleep) = asleep {
            patience.woke(asleep);
        }
        if job.serve_all(&fired) == Turn::Stop {
            return job.drain();
        }
        job.go_on();
    }
}

/// Bytes of a thread's stack. Workers need little, and a mapping as large as a huge page may be
/// given one.
const STACK: usize = 256 << 10;
