//! Threads of devices.
//!
//! A device is started by the driver, that is on a vCPU's thread, which must not be able to make
//! threads. So it asks a launcher, which can do little else and is there before the guest runs.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use virtio_bus::{Activity, Job, NotStarted, Runner, Running, ThreadRunner};

use crate::exit::{Wish, Wishes};
use crate::memory::SharedMemory;
use crate::sandbox::{self, Class, Territory};

/// Makes runners, whose threads the launcher starts.
pub struct Workers {
    requests: Sender<Request>,
    poll: Duration,
    restrict: Restriction,
    class: Class,
    activity: Option<Activity>,
}

/// What starts threads, once it is started itself.
pub struct Launcher {
    requests: Receiver<Request>,
    restrict: Restriction,
    territory: Option<Territory>,
}

impl Workers {
    /// A launcher that is not started yet. Workers poll their queues for `poll` at most before they
    /// sleep, and are inside the sandbox if `sandboxed`, as is the launcher.
    pub fn new(poll: Duration, sandboxed: bool, wishes: &Wishes) -> (Self, Launcher) {
        Self::make(None, poll, sandboxed, wishes)
    }

    /// The same with threads that may use files of `territory` by name, and its launcher, which is
    /// to be started before the process goes into its sandbox.
    pub fn within(
        territory: Territory,
        poll: Duration,
        sandboxed: bool,
        wishes: &Wishes,
    ) -> (Self, Launcher) {
        Self::make(Some(territory), poll, sandboxed, wishes)
    }

    fn make(
        territory: Option<Territory>,
        poll: Duration,
        sandboxed: bool,
        wishes: &Wishes,
    ) -> (Self, Launcher) {
        let (requests, inbox) = mpsc::channel();
        let restrict = restriction(sandboxed, wishes);
        let class = match territory {
            None => Class::Worker,
            Some(_) => Class::Sharer,
        };
        let launcher = Launcher {
            requests: inbox,
            restrict: Arc::clone(&restrict),
            territory,
        };
        let workers = Self {
            requests,
            poll,
            restrict,
            class,
            activity: None,
        };
        (workers, launcher)
    }

    /// The same, with runners whose threads tell `activity` whether they have something to do.
    #[must_use]
    pub fn reporting_to(mut self, activity: Option<&Activity>) -> Self {
        self.activity = activity.cloned();
        self
    }

    /// A runner whose threads are called `name`.
    pub fn runner(&self, name: &str) -> Arc<dyn Runner<SharedMemory>> {
        let (restrict, class) = (Arc::clone(&self.restrict), self.class);
        let threads = ThreadRunner::new(name).poll(self.poll);
        let threads = threads.on_start(move || restrict(class, None));
        self.through(Arc::new(match &self.activity {
            Some(activity) => threads.activity(activity),
            None => threads,
        }))
    }

    /// `runner`, with the launcher doing what a vCPU's thread may not.
    pub fn through(&self, runner: Arc<dyn Runner<SharedMemory>>) -> Arc<dyn Runner<SharedMemory>> {
        Arc::new(Launched {
            requests: self.requests.clone(),
            runner,
        })
    }

    /// Has a thread called `name` do `work` as soon as the launcher is there. Where the host has
    /// none to give, `work` is dropped.
    pub fn spawn(&self, name: impl Into<String>, work: impl FnOnce() + Send + 'static) {
        let name = name.into();
        let (restrict, class) = (Arc::clone(&self.restrict), self.class);
        let start = move || {
            let thread = std::thread::Builder::new().name(name.clone());
            let started = thread.stack_size(STACK).spawn(move || {
                restrict(class, None);
                work();
            });
            if let Err(error) = started {
                log::warn!("no thread for {name}: {error}");
            }
        };
        // Without a launcher there is no machine.
        let _ = self.requests.send(Box::new(start));
    }
}

impl Launcher {
    /// Starts the launcher, which ends with the last runner.
    ///
    /// # Errors
    /// Where the host has no thread to give.
    pub fn start(self) -> io::Result<()> {
        let thread = std::thread::Builder::new().name("launcher".to_owned());
        let thread = thread.stack_size(STACK).spawn(move || {
            let class = match &self.territory {
                None => Class::Launcher,
                Some(_) => Class::ShareLauncher,
            };
            (self.restrict)(class, self.territory.as_ref());
            self.requests.iter().for_each(|request| request());
        });
        thread.map(drop)
    }
}

/// Something to do on the launcher's thread.
type Request = Box<dyn FnOnce() + Send>;
/// Puts a thread into the sandbox, where there is one.
type Restriction = Arc<dyn Fn(Class, Option<&Territory>) + Send + Sync>;

struct Launched {
    requests: Sender<Request>,
    runner: Arc<dyn Runner<SharedMemory>>,
}

impl Runner<SharedMemory> for Launched {
    fn start(
        &self,
        job: Job<SharedMemory>,
    ) -> Result<Box<dyn Running<SharedMemory>>, NotStarted<SharedMemory>> {
        let (reply, answer) = mpsc::sync_channel(1);
        let runner = Arc::clone(&self.runner);
        let start = move || drop(reply.send(runner.start(job)));
        let gone = || io::Error::other("no launcher of threads");
        self.requests.send(Box::new(start)).map_err(|_| gone())?;
        answer.recv().map_err(|_| gone())?
    }
}

fn restriction(sandboxed: bool, wishes: &Wishes) -> Restriction {
    let wishes = wishes.clone();
    Arc::new(move |class, territory| {
        if !sandboxed {
            return;
        }
        let files = territory.map_or(Ok(()), sandbox::restrict_to);
        if let Err(error) = files.and_then(|()| sandbox::restrict_calls(class)) {
            wishes.make(Wish::Failure(error.to_string()));
        }
    })
}

/// Bytes of the launcher's stack.
const STACK: usize = 128 << 10;
