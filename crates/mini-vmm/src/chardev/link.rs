//! What is behind a character device: a back-end, and the descriptors to wait for.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::stdio::stdout;
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use super::Host;
use super::ring::Ring;
use super::socket::Socket;
use super::stdio::Stdio;
use super::watch::Watch;
use crate::files::Files;
use crate::options::ChardevKind;

/// An open back-end.
#[derive(Debug)]
pub(super) enum Link {
    Socket(Socket),
    Other {
        end: End,
        input: Watch,
        output: Watch,
    },
}

#[derive(Debug)]
pub(super) enum End {
    Null,
    Stdio(Stdio),
    File(File),
    Pipe {
        input: File,
        output: File,
    },
    Pty {
        controller: OwnedFd,
        _user: OwnedFd,
        /// Of the user's end.
        name: String,
    },
    Ring(Ring),
}

/// What keeps the descriptor of a link open for somebody who waits until it can be written.
#[derive(Clone, Debug)]
pub(super) enum Writable {
    Stream(Arc<OwnedFd>),
    Link(Arc<Link>),
}

impl Link {
    pub(super) fn open(label: &str, kind: &ChardevKind, host: &Host) -> io::Result<Self> {
        let end = match kind {
            ChardevKind::Socket(options) => return Socket::open(options, host).map(Self::Socket),
            ChardevKind::Null => End::Null,
            ChardevKind::Stdio { signal } => End::Stdio(Stdio::open(*signal, host.wishes.clone())?),
            ChardevKind::File { path, append } => End::File(open_file(&host.files, path, *append)?),
            ChardevKind::Pipe { path } => open_pipe(&host.files, path)?,
            ChardevKind::Pty => open_pty(&host.files, label)?,
            ChardevKind::Ring { size } => End::Ring(Ring::new(*size)?),
        };
        let (input, output) = end.watches()?;
        Ok(Self::Other { end, input, output })
    }

    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Socket(socket) => socket.read(buffer),
            Self::Other { end, .. } => end.read(buffer),
        }
    }

    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Socket(socket) => socket.write(bytes),
            Self::Other { end, .. } => end.write(bytes),
        }
    }

    /// Becomes readable when [`Link::read`] has something.
    pub(super) fn input(&self) -> BorrowedFd<'_> {
        match self {
            Self::Socket(socket) => socket.input().as_fd(),
            Self::Other { input, .. } => input.as_fd(),
        }
    }

    /// Becomes readable, too, when [`Link::write`] takes something.
    pub(super) fn output(&self) -> BorrowedFd<'_> {
        match self {
            Self::Socket(socket) => socket.output().as_fd(),
            Self::Other { output, .. } => output.as_fd(),
        }
    }

    pub(super) fn socket(&self) -> Option<&Socket> {
        match self {
            Self::Socket(socket) => Some(socket),
            Self::Other { .. } => None,
        }
    }

    pub(super) fn ring(&self) -> Option<&Ring> {
        match self {
            Self::Other {
                end: End::Ring(ring),
                ..
            } => Some(ring),
            _ => None,
        }
    }

    pub(super) fn pty(&self) -> Option<&str> {
        match self {
            Self::Other {
                end: End::Pty { name, .. },
                ..
            } => Some(name),
            _ => None,
        }
    }

    pub(super) fn description(&self) -> String {
        let end = match self {
            Self::Socket(socket) => return socket.description(),
            Self::Other { end, .. } => end,
        };
        match end {
            End::Null => "null",
            End::Stdio(_) => "stdio",
            End::File(_) => "file",
            End::Pipe { .. } => "pipe",
            End::Pty { .. } => "pty",
            End::Ring(_) => "ringbuf",
        }
        .to_owned()
    }
}

impl Writable {
    /// That of `link`, if it can make a writer wait.
    pub(super) fn of(link: Arc<Link>) -> Option<Self> {
        match &*link {
            Link::Socket(socket) => socket.client().map(Self::Stream),
            Link::Other {
                end: End::Null | End::Ring(_),
                ..
            } => None,
            Link::Other { .. } => Some(Self::Link(link)),
        }
    }

    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        let link = match self {
            Self::Stream(stream) => return Some(stream.as_fd()),
            Self::Link(link) => link,
        };
        match &**link {
            Link::Other { end, .. } => match end {
                End::Stdio(_) => Some(stdout()),
                End::File(output) | End::Pipe { output, .. } => Some(output.as_fd()),
                End::Pty { controller, .. } => Some(controller.as_fd()),
                End::Null | End::Ring(_) => None,
            },
            Link::Socket(_) => None,
        }
    }
}

impl End {
    fn watches(&self) -> io::Result<(Watch, Watch)> {
        let (input, output) = (Watch::input()?, Watch::output()?);
        Ok(match self {
            Self::Null => (input, output.always_ready()?),
            Self::File(file) => (input, output.with(file.as_fd())?),
            Self::Stdio(stdio) => (input.with(stdio.input())?, output.with(stdio.output())?),
            Self::Pipe {
                input: reader,
                output: writer,
            } => (input.with(reader.as_fd())?, output.with(writer.as_fd())?),
            Self::Pty { controller, .. } => (
                input.with(controller.as_fd())?,
                output.with(controller.as_fd())?,
            ),
            Self::Ring(ring) => (input.with(ring.input())?, output.always_ready()?),
        })
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Null | Self::File(_) => Ok(0),
            Self::Stdio(stdio) => stdio.read(buffer),
            Self::Pipe { input, .. } => Ok(rustix::io::read(input, buffer)?),
            Self::Pty { controller, .. } => Ok(rustix::io::read(controller, buffer)?),
            Self::Ring(ring) => ring.read(buffer),
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Null => Ok(bytes.len()),
            Self::Stdio(stdio) => stdio.write(bytes),
            Self::File(file) => { file }.write(bytes),
            Self::Pipe { output, .. } => { output }.write(bytes),
            Self::Pty { controller, .. } => Ok(rustix::io::write(controller, bytes)?),
            Self::Ring(ring) => Ok(ring.write(bytes)),
        }
    }
}

/// The file may be a FIFO or a terminal, whose reader is not to hold the machine up.
fn open_file(files: &Files, path: &Path, append: bool) -> io::Result<File> {
    let how = if append {
        OFlags::APPEND
    } else {
        OFlags::TRUNC
    };
    let file = files.open(path, OFlags::WRONLY | OFlags::CREATE | how)?;
    rustix::io::ioctl_fionbio(&file, true)?;
    Ok(file)
}

/// Both are opened for reading and writing, so that neither waits for a peer, nor ends with one.
fn open_pipe(files: &Files, path: &Path) -> io::Result<End> {
    let named = |ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    let open = |path: &Path| files.open(path, OFlags::RDWR | OFlags::NONBLOCK);
    let pair = open(&named(".in")).and_then(|input| Ok((input, open(&named(".out"))?)));
    let (input, output) = match pair {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let both = open(path)?;
            (both.try_clone()?, both)
        }
        pair => pair?,
    };
    Ok(End::Pipe { input, output })
}

/// The user's end is kept open, so that the controller's never hangs up when a terminal program
/// leaves.
fn open_pty(files: &Files, label: &str) -> io::Result<End> {
    files.unsealed()?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let controller = openpt(flags | OpenptFlags::from_bits_retain(libc::O_NONBLOCK as u32))?;
    grantpt(&controller)?;
    unlockpt(&controller)?;
    let name = ptsname(&controller, Vec::new())?
        .to_string_lossy()
        .into_owned();
    let user = File::options().read(true).write(true).open(&name)?;
    let mut modes = tcgetattr(&user)?;
    modes.make_raw();
    tcsetattr(&user, OptionalActions::Now, &modes)?;
    // In QEMU's words, which programs look for.
    let _ = writeln!(
        io::stderr(),
        "char device redirected to {name} (label {label})"
    );
    Ok(End::Pty {
        controller,
        _user: user.into(),
        name,
    })
}
