//! A process that opens what the VMM in its sandbox may not: what is below the directories that the
//! user allows, and the sockets that the command line has the VMM connect to again and again.
//!
//! It is forked before there are threads and before the sandbox, and has one of its own. It follows
//! no link out of a directory (openat2, `RESOLVE_BENEATH`), whatever a taken-over VMM asks it for,
//! and answers at once: a connection is handed over while it is being made. It ends with the VMM.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use super::address::{Endpoint, connect_tcp, connect_unix, first};
use crate::error::{Error, host};
use crate::options::BadOption;
use crate::sandbox::{self, Class};
use crate::signals;

/// The VMM's end of the line to the broker.
#[derive(Debug)]
pub struct Broker {
    line: Mutex<OwnedFd>,
    directories: Vec<PathBuf>,
    endpoints: Vec<Endpoint>,
}

/// What the broker opens.
struct Grants {
    /// What relative paths are relative to.
    from: PathBuf,
    directories: Vec<(PathBuf, OwnedFd)>,
    endpoints: Vec<Target>,
}

/// Where a connection goes.
enum Target {
    Unix(PathBuf),
    Tcp(Vec<SocketAddr>),
}

/// What is asked for, by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Ask {
    /// A file: flags of open(2), then the path.
    Open,
    /// A connection to a UNIX socket: zero, then the path.
    Connect,
    /// A UNIX socket that listens: zero, then the path.
    Listen,
    /// A connection to an endpoint of the command line: its number.
    Reconnect,
}

impl Broker {
    /// Forks a broker for what is below `directories`, and for connections to `endpoints`. The process
    /// has no other threads yet.
    ///
    /// # Errors
    /// A directory that cannot be opened, a name that is not known, or a host without processes.
    pub fn start(directories: &[PathBuf], endpoints: Vec<Endpoint>) -> Result<Self, Error> {
        let grants = Grants::new(directories, &endpoints)?;
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(host(CANNOT_START))?;
        let directories = grants.directories.iter().map(|(path, _)| path.clone());
        let directories = directories.collect();
        // SAFETY: the process has one thread, so its copy may do what it likes.
        match unsafe { libc::fork() } {
            0 => {
                drop(ours);
                serve(&theirs, &grants);
            }
            -1 => Err(host(CANNOT_START)(io::Error::last_os_error())),
            _ => Ok(Self {
                line: Mutex::new(ours),
                directories,
                endpoints,
            }),
        }
    }

    /// Directories below which it opens things.
    pub fn directories(&self) -> impl Iterator<Item = &Path> {
        self.directories.iter().map(PathBuf::as_path)
    }

    /// Opens a file.
    pub(super) fn open(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        self.ask(Ask::Open, flags.bits(), path.as_os_str().as_bytes())
    }

    pub(super) fn connect(&self, endpoint: &Endpoint) -> io::Result<OwnedFd> {
        let known = self.endpoints.iter().position(|known| known == endpoint);
        match (known, endpoint) {
            (Some(at), _) => self.ask(Ask::Reconnect, at as u32, &[]),
            (None, Endpoint::Unix(path)) => self.ask(Ask::Connect, 0, path.as_os_str().as_bytes()),
            _ => Err(no_socket()),
        }
    }

    pub(super) fn listen(&self, endpoint: &Endpoint) -> io::Result<OwnedFd> {
        match endpoint {
            Endpoint::Unix(path) => self.ask(Ask::Listen, 0, path.as_os_str().as_bytes()),
            _ => Err(no_socket()),
        }
    }

    fn ask(&self, ask: Ask, number: u32, path: &[u8]) -> io::Result<OwnedFd> {
        let mut message = vec![ask as u8];
        message.extend(number.to_le_bytes());
        message.extend(path);
        let line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        let none = &mut SendAncillaryBuffer::default();
        sendmsg(&*line, &[IoSlice::new(&message)], none, SendFlags::NOSIGNAL)?;
        let (mut answer, mut passed) = ([0; 4], None);
        let length = receive(&line, &mut answer, &mut |fd| passed = Some(fd))?;
        match (length, i32::from_le_bytes(answer), passed) {
            (4, 0, Some(fd)) => Ok(fd),
            (4, error, _) if error != 0 => Err(io::Error::from_raw_os_error(error)),
            _ => Err(ErrorKind::BrokenPipe.into()),
        }
    }
}

impl Target {
    fn of(endpoint: &Endpoint) -> io::Result<Self> {
        Ok(match endpoint {
            Endpoint::Unix(path) => Self::Unix(path.clone()),
            endpoint => Self::Tcp(endpoint.resolve()?),
        })
    }
}

impl Grants {
    fn new(directories: &[PathBuf], endpoints: &[Endpoint]) -> Result<Self, Error> {
        let directories = directories.iter().map(|path| {
            directory(path).map_err(|error| {
                let given = path.display().to_string();
                BadOption::property("-sandbox", "allow", &given, error, "a directory")
            })
        });
        let endpoints = endpoints.iter().map(|endpoint| {
            Target::of(endpoint).map_err(|error| {
                let accepted = "a place that can be connected to again";
                BadOption::value("-chardev", &endpoint.to_string(), error, accepted)
            })
        });
        Ok(Self {
            from: std::env::current_dir().map_err(host(CANNOT_START))?,
            directories: directories.collect::<Result<_, _>>()?,
            endpoints: endpoints.collect::<Result<_, _>>()?,
        })
    }

    fn answer(&self, message: &[u8]) -> io::Result<OwnedFd> {
        let invalid = || io::Error::from(Errno::INVAL);
        let (head, path) = message.split_at_checked(5).ok_or_else(invalid)?;
        let &[ask, a, b, c, d] = head else {
            return Err(invalid());
        };
        let number = u32::from_le_bytes([a, b, c, d]);
        let path = Path::new(std::ffi::OsStr::from_bytes(path));
        match ask {
            ask if ask == Ask::Open as u8 => {
                let flags = OFlags::from_bits_truncate(number) & ALLOWED;
                self.below(path, flags | OFlags::NOCTTY)
            }
            ask if ask == Ask::Connect as u8 => {
                let socket = self.below(path, OFlags::PATH)?;
                connect_unix(&of_descriptor(&socket))
            }
            ask if ask == Ask::Listen as u8 => self.listen(path),
            ask if ask == Ask::Reconnect as u8 => {
                let target = usize::try_from(number).ok();
                match target.and_then(|at| self.endpoints.get(at)) {
                    Some(Target::Unix(path)) => connect_unix(path),
                    Some(Target::Tcp(addresses)) => first(addresses.iter().map(connect_tcp)),
                    None => Err(invalid()),
                }
            }
            _ => Err(invalid()),
        }
    }

    /// Opens what is below one of the directories.
    fn below(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let path = normal(&self.from.join(path));
        let mut directories = self.directories.iter();
        let (directory, rest) = directories
            .find_map(|(root, fd)| Some((fd, path.strip_prefix(root).ok()?)))
            .ok_or(Errno::ACCESS)?;
        // An empty path is nothing.
        let rest = Path::new(".").join(rest);
        let mode = match flags.contains(OFlags::CREATE) {
            true => Mode::from_raw_mode(0o666),
            false => Mode::empty(),
        };
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let flags = flags | OFlags::CLOEXEC;
        Ok(openat2(directory, rest, flags, mode, beneath)?)
    }

    /// The parent is opened first, so that no link in the path is followed out of the directory.
    fn listen(&self, path: &Path) -> io::Result<OwnedFd> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Errno::INVAL.into());
        };
        let parent = self.below(parent, OFlags::PATH | OFlags::DIRECTORY)?;
        Endpoint::Unix(of_descriptor(&parent).join(name)).listen()
    }
}

/// The broker's life.
fn serve(line: &OwnedFd, grants: &Grants) -> ! {
    let ready = settle(line, grants).is_ok();
    let mut message = vec![0; LONGEST];
    while ready && let Ok(length @ 1..) = receive(line, &mut message, &mut drop) {
        let answer = grants.answer(message.get(..length).unwrap_or_default());
        if reply(line, answer).is_err() {
            break;
        }
    }
    // SAFETY: ends this process, without what its parent has registered for its own end.
    unsafe { libc::_exit(0) }
}

/// Keeps nothing of the VMM's, and nothing that is not needed.
fn settle(line: &OwnedFd, grants: &Grants) -> io::Result<()> {
    let _ = rustix::thread::set_name(c"broker");
    // The VMM decides when it ends, by hanging up.
    signals::block_end()?;
    let directories = grants.directories.iter().map(|(_, fd)| fd.as_raw_fd());
    let mut kept: Vec<_> = directories.chain([2, line.as_raw_fd()]).collect();
    kept.sort_unstable();
    let mut from = 0;
    for fd in kept.into_iter().map(i32::cast_unsigned) {
        if from < fd {
            close_all(from, fd - 1);
        }
        from = fd + 1;
    }
    close_all(from, u32::MAX);
    sandbox::restrict_calls(Class::Broker).map_err(io::Error::other)
}

fn close_all(first: u32, last: u32) {
    // SAFETY: nothing in this process uses these descriptors, which are copies of its parent's.
    unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
}

fn reply(line: &OwnedFd, answer: io::Result<OwnedFd>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut passed = SendAncillaryBuffer::new(&mut space);
    let error = match &answer {
        Ok(_) => 0,
        Err(error) => error.raw_os_error().unwrap_or(libc::EIO),
    };
    let fds = answer
        .as_ref()
        .ok()
        .map(|fd| [std::os::fd::AsFd::as_fd(fd)]);
    if let Some(fds) = &fds {
        passed.push(SendAncillaryMessage::ScmRights(fds));
    }
    let bytes = error.to_le_bytes();
    sendmsg(
        line,
        &[IoSlice::new(&bytes)],
        &mut passed,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

/// Reads one message; `keep` gets the descriptors that come with it.
fn receive(line: &OwnedFd, buffer: &mut [u8], keep: &mut dyn FnMut(OwnedFd)) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut passed = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let mut slices = [IoSliceMut::new(buffer)];
        match recvmsg(line, &mut slices, &mut passed, RecvFlags::CMSG_CLOEXEC) {
            Err(Errno::INTR) => {}
            result => break result?,
        }
    };
    for message in passed.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            fds.for_each(&mut *keep);
        }
    }
    Ok(received.bytes)
}

/// Opens a directory that things are granted below, under the name that paths have.
fn directory(path: &Path) -> io::Result<(PathBuf, OwnedFd)> {
    let path = normal(&std::path::absolute(path)?);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(&path, flags, Mode::empty())?;
    Ok((path, fd))
}

/// A path without `.`, and with `..` taken back as text: it is the file's name, not a walk.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            part => normal.push(part),
        }
    }
    normal
}

/// The path of what is open as `fd`.
fn of_descriptor(fd: &OwnedFd) -> PathBuf {
    format!("/proc/self/fd/{}", fd.as_raw_fd()).into()
}

fn no_socket() -> io::Error {
    io::Error::other("the sandbox makes no such socket (one that is passed can be used)")
}

const CANNOT_START: &str = "cannot start the broker of -sandbox allow= and reconnect-ms=";
/// Bytes of a message.
const LONGEST: usize = 8192;
/// What may be asked of a file.
const ALLOWED: OFlags = OFlags::ACCMODE
    .union(OFlags::CREATE)
    .union(OFlags::TRUNC)
    .union(OFlags::APPEND)
    .union(OFlags::NONBLOCK)
    .union(OFlags::DIRECT)
    .union(OFlags::EXCL);
