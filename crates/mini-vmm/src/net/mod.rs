//! Network back-ends: the host ends of virtio-net devices, as `-netdev` describes them.

mod announce;
mod clients;
mod datagram;
mod dump;
mod hub;
mod line;
mod macs;
mod passt;
mod stream;
mod tap;

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use virtio_net::{Backend, Facts, HEADER, Offloads, Plain};

use crate::files::{Endpoint, Files};
use crate::options::{BadOption, DatagramOptions, NetdevKind, NetdevOptions, StreamOptions};
pub use announce::{Announcer, Rounds};
pub use clients::Clients;
use datagram::Datagram;
use dump::Dumps;
pub use dump::{Dump, DumpQueue};
pub use hub::Hubs;
pub use line::NetLine;
use line::Way;
pub use macs::Macs;
use passt::Passt;
use stream::Stream;
use tap::Tap;

/// A network back-end. Its clones are the same one, and count as users of it.
#[derive(Clone)]
pub struct Netdev(Arc<Ends>);

struct Ends {
    kind: Kind,
    dumps: Arc<Dumps>,
    link: AtomicBool,
    /// A socket that is to be removed.
    path: Option<PathBuf>,
}

enum Kind {
    Tap(Tap),
    Stream(Arc<Stream>),
    Datagram(Arc<Datagram>),
    Hub(hub::Port),
    /// Ends when its socket is closed.
    Passt(Arc<Stream>, #[allow(dead_code, reason = "held")] Passt),
}

impl Netdev {
    /// Opens the back-end of `options`.
    ///
    /// # Errors
    /// What cannot be opened, under its option's name.
    pub fn open(
        option: &str,
        options: &NetdevOptions,
        hubs: &mut Hubs,
        files: &Files,
    ) -> Result<Self, BadOption> {
        let mut path = None;
        let kind = match &options.kind {
            NetdevKind::Tap(tap) => Kind::Tap(Tap::open(option, tap, files)?),
            NetdevKind::Stream(place) => {
                if let StreamOptions::Listen(Endpoint::Unix(socket)) = place {
                    path = Some(socket.clone());
                }
                Kind::Stream(open_stream(option, place, files)?)
            }
            NetdevKind::Datagram(place) => Kind::Datagram(open_datagram(option, place, files)?),
            NetdevKind::Hub { hub } => hubs
                .port(*hub)
                .map(Kind::Hub)
                .map_err(|error| BadOption::new(option, error, "fewer devices"))?,
            NetdevKind::User { program } => {
                let (passt, socket) = Passt::start(option, program)?;
                let stream = Stream::on(socket);
                let stream = stream.map_err(|error| BadOption::new(option, error, ""))?;
                Kind::Passt(Arc::new(stream), passt)
            }
        };
        Ok(Self(Arc::new(Ends {
            kind,
            dumps: Arc::default(),
            link: AtomicBool::new(true),
            path,
        })))
    }

    /// Whether a device has it.
    pub fn is_used(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// What `query-...` and errors call its kind.
    pub fn kind(&self) -> &'static str {
        match self.0.kind {
            Kind::Tap(_) => "tap",
            Kind::Stream(_) => "stream",
            Kind::Datagram(_) => "dgram",
            Kind::Hub(_) => "hubport",
            Kind::Passt(..) => "user",
        }
    }

    /// The directory of the socket that it leaves behind.
    pub fn leaves_file_in(&self) -> Option<PathBuf> {
        let path = self.0.path.as_ref()?;
        Some(directory(path))
    }

    /// Whether `set_link` has left it up.
    pub fn link(&self) -> bool {
        self.0.link.load(Ordering::Relaxed)
    }

    /// Remembers what `set_link` says.
    pub fn set_link(&self, up: bool) {
        self.0.link.store(up, Ordering::Relaxed);
    }

    /// Captures what passes it, as long as `dump` has an owner.
    pub fn add_dump(&self, dump: &Arc<Dump>) {
        self.0.dumps.add(dump);
    }

    /// The lines of a device on it.
    ///
    /// # Errors
    /// A host without descriptors to give.
    pub fn lines(&self) -> io::Result<Vec<NetLine>> {
        let ways = match &self.0.kind {
            Kind::Tap(tap) => tap.ways()?,
            Kind::Stream(stream) | Kind::Passt(stream, _) => vec![Way::Stream(Arc::clone(stream))],
            Kind::Datagram(socket) => vec![Way::Datagram(Arc::clone(socket))],
            Kind::Hub(port) => vec![Way::Hub(port.clone())],
        };
        let header = if self.facts().header { HEADER } else { 0 };
        let line = |way| NetLine::new(way, Arc::clone(&self.0.dumps), header);
        Ok(ways.into_iter().map(line).collect())
    }
}

/// What all lines of a device on it have in common.
impl Backend for Netdev {
    fn facts(&self) -> Facts {
        match &self.0.kind {
            Kind::Tap(tap) => tap.facts(),
            _ => Plain.facts(),
        }
    }

    fn set_offloads(&self, offloads: Offloads) -> io::Result<()> {
        match &self.0.kind {
            Kind::Tap(tap) => tap.set_offloads(offloads),
            _ => Ok(()),
        }
    }

    fn set_lines(&self, count: u16) -> io::Result<()> {
        match &self.0.kind {
            Kind::Tap(tap) => tap.set_lines(count),
            _ => Ok(()),
        }
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn open_stream(
    option: &str,
    place: &StreamOptions,
    files: &Files,
) -> Result<Arc<Stream>, BadOption> {
    let opened = match place {
        StreamOptions::Fd(fd) => inherited(*fd).and_then(Stream::on),
        StreamOptions::Connect(endpoint) => files.connect(endpoint).and_then(Stream::connected),
        StreamOptions::Listen(endpoint) => files.listen(endpoint).and_then(Stream::listening),
    };
    opened.map(Arc::new).map_err(|error| {
        let (place, accepted) = match place {
            StreamOptions::Fd(fd) => (format!("fd={fd}"), "an open stream socket"),
            StreamOptions::Connect(at) => (at.to_string(), "a socket that somebody listens at"),
            StreamOptions::Listen(at) => (at.to_string(), "a place that is free"),
        };
        BadOption::new(&format!("{option} {place}"), error, accepted)
    })
}

fn open_datagram(
    option: &str,
    place: &DatagramOptions,
    files: &Files,
) -> Result<Arc<Datagram>, BadOption> {
    let opened = files.unsealed().and_then(|()| Datagram::open(place));
    opened.map(Arc::new).map_err(|error| {
        let (place, accepted) = match place {
            DatagramOptions::Fd(fd) => (format!("fd={fd}"), "an open datagram socket"),
            DatagramOptions::Udp { local, .. } => {
                (format!("{}:{}", local.0, local.1), "a port that is free")
            }
            DatagramOptions::Multicast { group, .. } => (group.to_string(), "a group"),
        };
        BadOption::new(&format!("{option} {place}"), error, accepted)
    })
}

/// A descriptor of our own of what the caller has left open as `fd`.
fn inherited(fd: u32) -> io::Result<OwnedFd> {
    let fd = i32::try_from(fd).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: it is borrowed for the one call that duplicates it, which fails for a number that is
    // not open; nothing of this process is closed meanwhile, as there is no other thread yet.
    unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()
}

fn directory(path: &std::path::Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Whoever panicked with a lock has left what was there, which is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
