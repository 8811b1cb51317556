//! What is shared with the guest, and the threads that serve it.
//!
//! They are the only ones that open files by name while the guest runs, so each share has threads
//! of its own, which can reach its directory and nothing else. What starts them is there, and in
//! its own sandbox, before the rest of the process goes into its.

use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};

use p9_server::{Limits, Local, LocalOptions, SecurityModel, Synth};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use virtio_9p::{Executor, Task};

use crate::options::{BadOption, FsdevKind, FsdevOptions};
use crate::sandbox::Territory;
use crate::workers::{Launcher, Workers};

/// One `-fsdev`.
pub struct Share {
    files: Files,
    limits: Limits,
    workers: Arc<Workers>,
    pool: Arc<Pool>,
    launcher: Option<Launcher>,
}

/// The files of a share.
#[derive(Clone)]
pub enum Files {
    /// A directory of the host.
    Local(Arc<Local>),
    /// A tree for tests.
    Synth(Arc<Synth>),
}

/// Threads for requests that wait.
pub struct Pool {
    tasks: Mutex<Sender<Task>>,
    /// One that is handed on to each thread; those that are left are gone or never were.
    threads: Arc<()>,
}

impl Share {
    /// Opens what `options` name, for threads that `workers` makes for where it is.
    ///
    /// # Errors
    /// A directory that cannot be shared.
    pub fn open(
        options: &FsdevOptions,
        workers: impl FnOnce(Territory) -> (Workers, Launcher),
    ) -> Result<Self, BadOption> {
        let (files, territory) = match &options.kind {
            FsdevKind::Local(path, local) => (
                Files::Local(Arc::new(directory(path, *local)?)),
                territory(path, local),
            ),
            FsdevKind::Synth => (Files::Synth(Arc::new(Synth::new())), Territory::Nowhere),
        };
        let (workers, launcher) = workers(territory);
        let mut limits = Limits::default();
        limits.xattr_fids = match options.max_xattr {
            0 => limits.fids,
            some => some,
        };
        Ok(Self {
            files,
            limits,
            pool: Arc::new(Pool::new(&workers)),
            workers: Arc::new(workers),
            launcher: Some(launcher),
        })
    }

    /// The files.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// What one guest may use of the host.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Where its devices do their work.
    pub fn workers(&self) -> &Arc<Workers> {
        &self.workers
    }

    /// Where requests wait.
    pub fn pool(&self) -> Arc<Pool> {
        Arc::clone(&self.pool)
    }

    /// What starts the threads, to be started once.
    pub fn take_launcher(&mut self) -> Option<Launcher> {
        self.launcher.take()
    }
}

impl Pool {
    fn new(workers: &Workers) -> Self {
        let (tasks, inbox) = mpsc::channel();
        let (inbox, threads) = (Arc::new(Mutex::new(inbox)), Arc::new(()));
        for _ in 0..THREADS {
            let (inbox, alive) = (Arc::clone(&inbox), Arc::clone(&threads));
            workers.spawn("9p", move || {
                let _alive = alive;
                while let Some(task) = next(&inbox) {
                    task();
                }
            });
        }
        Self {
            tasks: Mutex::new(tasks),
            threads,
        }
    }
}

impl Executor for Pool {
    fn execute(&self, task: Task) -> Result<(), Task> {
        if Arc::strong_count(&self.threads) == 1 {
            return Err(task);
        }
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.send(task).map_err(|refused| refused.0)
    }
}

/// Waits for a task; none comes when the pool is gone.
fn next(inbox: &Mutex<Receiver<Task>>) -> Option<Task> {
    inbox
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .recv()
        .ok()
}

fn territory(path: &Path, options: &LocalOptions) -> Territory {
    let own = [SecurityModel::None, SecurityModel::Passthrough];
    Territory::Below {
        path: path.to_owned(),
        read_only: options.read_only,
        nodes: own.contains(&options.security_model),
    }
}

fn directory(path: &Path, options: LocalOptions) -> Result<Local, BadOption> {
    let descriptors = usize::try_from(raise_descriptors() / 4 * 3).unwrap_or(usize::MAX);
    let options = LocalOptions {
        descriptors: options.descriptors.min(descriptors),
        ..options
    };
    Local::new(path, options).map_err(|error| {
        let path = path.display().to_string();
        let accepted = "a directory, with extended attributes for security_model=mapped-xattr";
        BadOption::property("-fsdev", "path", &path, error, accepted)
    })
}

/// A guest has a descriptor for each file that it knows: lets this process have as many as it may,
/// and returns the number.
fn raise_descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let now = match setrlimit(Resource::Nofile, all) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    now.unwrap_or(u64::MAX)
}

/// For one guest with a few programs that write at once.
const THREADS: usize = 4;
