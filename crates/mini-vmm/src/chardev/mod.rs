//! Character devices on the host: the other ends of serial ports and consoles.
//!
//! All of them are non-blocking and meet their users as a pair of calls and a pair of descriptors
//! to wait for. What a guest writes is never stored here without bound.

mod escape;
mod port;
mod socket;
mod stdio;
mod talk;
mod watch;

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use crate::exit::Wishes;
use crate::options::{BadOption, ChardevKind};
pub use port::ChardevPort;
use socket::Socket;
use stdio::Stdio;
pub use talk::{Heard, Talk};
use watch::Watch;

/// An open character device.
#[derive(Debug)]
pub struct Chardev(Link);

#[derive(Debug)]
enum Link {
    Socket(Socket),
    Other {
        end: End,
        input: Watch,
        output: Watch,
    },
}

#[derive(Debug)]
enum End {
    Null,
    Stdio(Stdio),
    File(File),
    Pty { controller: OwnedFd, _user: OwnedFd },
}

impl Chardev {
    /// Opens what `kind` says. `option` names the option in errors, `label` the device in messages;
    /// the escape keys of a terminal make a wish.
    ///
    /// # Errors
    /// What cannot be opened, under the option's name.
    pub fn open(
        option: &str,
        label: &str,
        kind: &ChardevKind,
        wishes: &Wishes,
    ) -> Result<Self, BadOption> {
        let (path, accepted) = match kind {
            ChardevKind::File { path, .. } => (Some(path), "a file that can be written"),
            ChardevKind::Socket {
                path, server: true, ..
            } => (Some(path), "a path not in use"),
            ChardevKind::Socket { path, .. } => (Some(path), "a UNIX socket that listens"),
            _ => (None, "another back-end"),
        };
        let link = Link::open(label, kind, wishes);
        link.map(Self).map_err(|error| match path {
            Some(path) => {
                BadOption::property(option, "path", &path.display().to_string(), error, accepted)
            }
            None => BadOption::value(option, label, error, accepted),
        })
    }

    /// Reads what has come in; 0 bytes mean that nothing will come any more.
    ///
    /// # Errors
    /// `WouldBlock` where there is nothing now, or nobody at the other end.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.0 {
            Link::Socket(socket) => socket.read(buffer),
            Link::Other { end, .. } => end.read(buffer),
        }
    }

    /// Writes some of `bytes` and says how many. With nobody at the other end they are gone, as
    /// on a real line.
    ///
    /// # Errors
    /// `WouldBlock` where the other end is slow; else those of the host.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match &self.0 {
            Link::Socket(socket) => socket.write(bytes),
            Link::Other { end, .. } => end.write(bytes),
        }
    }

    /// Becomes readable when [`Chardev::read`] has something.
    pub fn input(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Link::Socket(socket) => socket.input().as_fd(),
            Link::Other { input, .. } => input.as_fd(),
        }
    }

    /// Becomes readable, too, when [`Chardev::write`] takes something.
    pub fn output(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Link::Socket(socket) => socket.output().as_fd(),
            Link::Other { output, .. } => output.as_fd(),
        }
    }

    /// Whether somebody is at the other end.
    pub fn is_connected(&self) -> bool {
        match &self.0 {
            Link::Socket(socket) => socket.is_connected(),
            _ => true,
        }
    }

    /// What it is, in the words of QEMU's monitor.
    pub fn description(&self) -> String {
        match &self.0 {
            Link::Socket(socket) => socket.description(),
            Link::Other { end, .. } => match end {
                End::Null => "null".to_owned(),
                End::Stdio(_) => "stdio".to_owned(),
                End::File(_) => "file".to_owned(),
                End::Pty { .. } => "pty".to_owned(),
            },
        }
    }

    /// The number of whoever is at the other end: each one has another.
    pub fn peer(&self) -> Option<u64> {
        match &self.0 {
            Link::Socket(socket) => socket.peer(),
            Link::Other { .. } => Some(0),
        }
    }

    /// Whether the guest must not start before somebody is at the other end.
    pub fn awaits_client(&self) -> bool {
        match &self.0 {
            Link::Socket(socket) => socket.awaits_client(),
            _ => false,
        }
    }

    /// Takes a client that is waiting to be let in, where there is none yet.
    pub fn let_in(&self) {
        if let Link::Socket(socket) = &self.0 {
            socket.let_in();
        }
    }

    /// Sends the peer of a socket away.
    pub fn hang_up(&self) {
        if let Link::Socket(socket) = &self.0 {
            socket.hang_up();
        }
    }

    /// The directory that this device's file must be removed from at the end, if any.
    pub fn leaves_file_in(&self) -> Option<&Path> {
        match &self.0 {
            Link::Socket(socket) => socket.listens_in(),
            _ => None,
        }
    }
}

impl Link {
    fn open(label: &str, kind: &ChardevKind, wishes: &Wishes) -> io::Result<Self> {
        let end = match kind {
            ChardevKind::Socket { path, server, wait } => {
                return Socket::open(path, *server, *wait).map(Self::Socket);
            }
            ChardevKind::Null => End::Null,
            ChardevKind::Stdio { signal } => End::Stdio(Stdio::open(*signal, wishes.clone())?),
            ChardevKind::File { path, append } => End::File(open_file(path, *append)?),
            ChardevKind::Pty => open_pty(label)?,
        };
        let (input, output) = (Watch::input()?, Watch::output()?);
        let (input, output) = match &end {
            End::Null => (input, output.always_ready()?),
            End::File(file) => (input, output.with(file.as_fd())?),
            End::Stdio(stdio) => (input.with(stdio.input())?, output.with(stdio.output())?),
            End::Pty { controller, .. } => (
                input.with(controller.as_fd())?,
                output.with(controller.as_fd())?,
            ),
        };
        Ok(Self::Other { end, input, output })
    }
}

impl End {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Null | Self::File(_) => Ok(0),
            Self::Stdio(stdio) => stdio.read(buffer),
            Self::Pty { controller, .. } => Ok(rustix::io::read(controller, buffer)?),
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Null => Ok(bytes.len()),
            Self::Stdio(stdio) => stdio.write(bytes),
            Self::File(file) => { file }.write(bytes),
            Self::Pty { controller, .. } => Ok(rustix::io::write(controller, bytes)?),
        }
    }
}

/// Whether `fd` has one of `flags` within `milliseconds`.
pub(crate) fn is_ready(fd: BorrowedFd<'_>, flags: PollFlags, milliseconds: u32) -> bool {
    let timeout = Timespec {
        tv_sec: 0,
        tv_nsec: i64::from(milliseconds.min(999)) * 1_000_000,
    };
    let mut fds = [PollFd::new(&fd, flags)];
    matches!(poll(&mut fds, Some(&timeout)), Ok(ready) if ready > 0)
}

fn would_block<T>() -> io::Result<T> {
    Err(ErrorKind::WouldBlock.into())
}

/// The file may be a FIFO or a terminal, whose reader is not to hold the machine up.
fn open_file(path: &Path, append: bool) -> io::Result<File> {
    let file = File::options()
        .create(true)
        .write(true)
        .append(append)
        .truncate(!append)
        .open(path)?;
    rustix::io::ioctl_fionbio(&file, true)?;
    Ok(file)
}

/// The user's end is kept open, so that the controller's never hangs up when a terminal program
/// leaves.
fn open_pty(label: &str) -> io::Result<End> {
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
    })
}

#[cfg(test)]
mod tests;
