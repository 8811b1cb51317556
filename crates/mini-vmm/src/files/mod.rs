//! What the VMM opens: files, and sockets to connect to or to listen at.
//!
//! Before the machine runs, the process opens them itself. In its sandbox it cannot any more; from
//! then on a path is opened by the [`Broker`], where there is one, and `/dev/fdset/N` is a
//! descriptor that a monitor has passed.

mod address;
mod broker;
mod draft;
mod fdset;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{Mode, OFlags};

pub use address::Endpoint;
pub(crate) use address::connected;
pub use broker::Broker;
use draft::Draft;
pub use fdset::{FdSets, Passed};

/// The ways to open something.
#[derive(Debug, Default)]
pub struct Files {
    sealed: AtomicBool,
    broker: Option<Broker>,
    passed: Mutex<PassedFds>,
    /// What is taken back unless it is settled.
    draft: Mutex<Option<Draft>>,
}

/// Descriptors that monitors have passed.
#[derive(Debug, Default)]
pub struct PassedFds {
    /// Those that have a name.
    pub named: BTreeMap<String, OwnedFd>,
    /// Those in sets.
    pub sets: FdSets,
}

impl Files {
    /// A process that opens what it likes, until it is sealed; then `broker` opens for it.
    pub fn new(broker: Option<Broker>) -> Self {
        Self {
            broker,
            ..Self::default()
        }
    }

    /// The same, but files that it makes or empties are so for good only once they are
    /// [settled](Files::settle).
    pub fn provisional(self) -> Self {
        *self.draft() = Some(Draft::default());
        self
    }

    /// What was made and emptied stays so, and so will what follows.
    ///
    /// # Errors
    /// A file that cannot be emptied.
    pub fn settle(&self) -> io::Result<()> {
        let draft = self.draft().take();
        draft.map_or(Ok(()), Draft::settle)
    }

    /// From now on this process opens nothing itself.
    pub fn seal(&self) {
        self.sealed.store(true, Ordering::Relaxed);
    }

    /// Directories below which things are opened even then.
    pub fn directories(&self) -> impl Iterator<Item = &Path> {
        self.broker.iter().flat_map(Broker::directories)
    }

    /// Opens a file; one that is made can be read and written by all whom the umask lets. Nobody at
    /// another end is waited for: a FIFO that nobody writes is open, one that nobody reads cannot be.
    ///
    /// # Errors
    /// Those of the host, and a sandbox that does not open it.
    pub fn open(&self, path: &Path, flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::CLOEXEC;
        if let Some(set) = path.to_str().and_then(|path| path.strip_prefix(FDSET)) {
            let set = set.parse().map_err(|_| unknown_set())?;
            return self.passed().sets.open(set, flags).map(File::from);
        }
        let at_once = flags | OFlags::NONBLOCK;
        let opened = match self.door()? {
            Door::Own => self.open_here(path, at_once)?,
            Door::Broker(broker) => broker.open(path, at_once)?,
        };
        if !flags.contains(OFlags::NONBLOCK) {
            rustix::io::ioctl_fionbio(&opened, false)?;
        }
        Ok(opened.into())
    }

    /// A stream socket without blocking, that is connected to `endpoint` or is going to be.
    ///
    /// # Errors
    /// As [`Files::open`].
    pub fn connect(&self, endpoint: &Endpoint) -> io::Result<OwnedFd> {
        match (self.door(), endpoint) {
            (_, Endpoint::Passed(name)) => self.take_named(name),
            (Ok(Door::Own), _) => endpoint.connect(),
            (Ok(Door::Broker(broker)), _) => broker.connect(endpoint),
            (Err(error), _) => Err(error),
        }
    }

    /// A stream socket without blocking, that listens at `endpoint`.
    ///
    /// # Errors
    /// As [`Files::open`].
    pub fn listen(&self, endpoint: &Endpoint) -> io::Result<OwnedFd> {
        match (self.door(), endpoint) {
            (_, Endpoint::Passed(name)) => self.take_named(name),
            (Ok(Door::Own), _) => endpoint.listen(),
            (Ok(Door::Broker(broker)), _) => broker.listen(endpoint),
            (Err(error), _) => Err(error),
        }
    }

    /// Whether this process opens things itself.
    ///
    /// # Errors
    /// One in its sandbox.
    pub fn unsealed(&self) -> io::Result<()> {
        match self.sealed.load(Ordering::Relaxed) {
            false => Ok(()),
            true => Err(io::Error::other(CLOSED)),
        }
    }

    /// What monitors have passed.
    pub fn passed(&self) -> MutexGuard<'_, PassedFds> {
        self.passed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the descriptor called `name`, which a monitor has passed.
    ///
    /// # Errors
    /// None of that name.
    pub fn take_named(&self, name: &str) -> io::Result<OwnedFd> {
        let fd = self.passed().named.remove(name);
        fd.ok_or_else(|| io::Error::other(format!("no descriptor called '{name}' was passed")))
    }

    fn open_here(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let mode = Mode::from_raw_mode(0o666);
        match &mut *self.draft() {
            Some(draft) => draft.open(path, flags, mode),
            None => Ok(rustix::fs::open(path, flags, mode)?),
        }
    }

    fn draft(&self) -> MutexGuard<'_, Option<Draft>> {
        self.draft.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn door(&self) -> io::Result<Door<'_>> {
        match (self.sealed.load(Ordering::Relaxed), &self.broker) {
            (false, _) => Ok(Door::Own),
            (true, Some(broker)) => Ok(Door::Broker(broker)),
            (true, None) => Err(io::Error::other(CLOSED)),
        }
    }
}

/// Who opens.
enum Door<'a> {
    /// This process.
    Own,
    /// The broker.
    Broker(&'a Broker),
}

fn unknown_set() -> io::Error {
    io::Error::other("no such set of descriptors")
}

const FDSET: &str = "/dev/fdset/";
const CLOSED: &str = "the sandbox opens no files (a path below a directory of -sandbox \
                      on,allow=DIR, /dev/fdset/N and descriptors that are passed can be opened)";
#[cfg(test)]
mod tests;
