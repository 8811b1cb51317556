//! Character devices on the host: the other ends of serial ports.
//!
//! All of them are non-blocking and meet their users as a pair of calls and a pair of descriptors
//! to wait for. What a guest writes is never stored here without bound.

mod escape;
mod socket;
mod stdio;

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use crate::exit::Wishes;
use crate::options::{BadOption, ChardevKind};
use socket::Socket;
use stdio::Stdio;

/// An open character device.
#[derive(Debug)]
pub struct Chardev(Link);

#[derive(Debug)]
enum Link {
    Null,
    Stdio(Stdio),
    File(File),
    Pty { controller: OwnedFd, _user: OwnedFd },
    Socket(Socket),
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
        let bad = |path: &Path, error: io::Error, accepted: &str| {
            BadOption::property(option, "path", &path.display().to_string(), error, accepted)
        };
        let plain = |error: io::Error| BadOption::value(option, label, error, "another back-end");
        let link = match kind {
            ChardevKind::Null => Link::Null,
            ChardevKind::Stdio { signal } => {
                Link::Stdio(Stdio::open(*signal, wishes.clone()).map_err(plain)?)
            }
            ChardevKind::File { path, append } => {
                let file = open_file(path, *append);
                Link::File(file.map_err(|error| bad(path, error, "a writable file"))?)
            }
            ChardevKind::Pty => open_pty(label).map_err(plain)?,
            ChardevKind::Socket { path, server, wait } => {
                let socket = Socket::open(path, *server, *wait);
                let accepted = "a UNIX socket to connect to, or a free path with server=on";
                Link::Socket(socket.map_err(|error| bad(path, error, accepted))?)
            }
        };
        Ok(Self(link))
    }

    /// Reads what has come in; 0 bytes mean that nothing will come any more.
    ///
    /// # Errors
    /// `WouldBlock` where there is nothing now, or nobody at the other end.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.0 {
            Link::Null | Link::File(_) => Ok(0),
            Link::Stdio(stdio) => stdio.read(buffer),
            Link::Pty { controller, .. } => Ok(rustix::io::read(controller, buffer)?),
            Link::Socket(socket) => socket.read(buffer),
        }
    }

    /// Writes some of `bytes` and says how many. With nobody at the other end they are gone, as
    /// on a real line.
    ///
    /// # Errors
    /// `WouldBlock` where the other end is slow; else those of the host.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match &self.0 {
            Link::Null => Ok(bytes.len()),
            Link::Stdio(stdio) => stdio.write(bytes),
            Link::File(file) => { file }.write(bytes),
            Link::Pty { controller, .. } => Ok(rustix::io::write(controller, bytes)?),
            Link::Socket(socket) => socket.write(bytes),
        }
    }

    /// Readable when [`Chardev::read`] has something; `None` where it never will.
    pub fn input(&self) -> Option<BorrowedFd<'_>> {
        match &self.0 {
            Link::Null | Link::File(_) => None,
            Link::Stdio(stdio) => Some(stdio.input()),
            Link::Pty { controller, .. } => Some(controller.as_fd()),
            Link::Socket(socket) => Some(socket.input()),
        }
    }

    /// Writable when [`Chardev::write`] takes something; `None` where it always does.
    pub fn output(&self) -> Option<BorrowedFd<'_>> {
        match &self.0 {
            Link::Null | Link::File(_) => None,
            Link::Stdio(stdio) => Some(stdio.output()),
            Link::Pty { controller, .. } => Some(controller.as_fd()),
            Link::Socket(socket) => Some(socket.output()),
        }
    }

    /// Whether somebody is at the other end.
    pub fn is_connected(&self) -> bool {
        match &self.0 {
            Link::Socket(socket) => socket.is_connected(),
            _ => true,
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

    /// The directory that this device's file must be removed from at the end, if any.
    pub fn leaves_file_in(&self) -> Option<&Path> {
        match &self.0 {
            Link::Socket(socket) => socket.listens_in(),
            _ => None,
        }
    }
}

/// Whether `fd` takes bytes within `timeout` milliseconds.
pub(crate) fn wait_writable(fd: BorrowedFd<'_>, timeout: u32) -> bool {
    is_ready(fd, PollFlags::OUT, timeout)
}

fn is_ready(fd: BorrowedFd<'_>, flags: PollFlags, milliseconds: u32) -> bool {
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

fn open_file(path: &Path, append: bool) -> io::Result<File> {
    File::options()
        .create(true)
        .write(true)
        .append(append)
        .truncate(!append)
        .open(path)
}

/// The user's end is kept open, so that the controller's never hangs up when a terminal program
/// leaves.
fn open_pty(label: &str) -> io::Result<Link> {
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
    eprintln!("char device redirected to {name} (label {label})");
    Ok(Link::Pty {
        controller,
        _user: user.into(),
    })
}

#[cfg(test)]
mod tests;
