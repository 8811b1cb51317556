//! Character devices on the host: the other ends of serial ports and consoles.
//!
//! All of them are non-blocking and meet their users as a pair of calls and a pair of descriptors
//! to wait for, which stay the same when a monitor puts another back-end behind them. What a guest
//! writes is never stored here without bound.

mod escape;
mod link;
mod passing;
mod port;
mod retry;
mod ring;
mod socket;
mod stdio;
mod talk;
mod watch;

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::exit::Wishes;
use crate::files::{Endpoint, Files};
use crate::options::{BadOption, ChardevKind};
use link::{Link, Writable};
pub use port::ChardevPort;
pub use talk::{Heard, Talk};
pub(crate) use watch::Watch;

/// What character devices need of the process.
#[derive(Clone, Debug)]
pub struct Host {
    /// Where the escape keys of a terminal make a wish.
    pub wishes: Wishes,
    /// What opens files and sockets.
    pub files: Arc<Files>,
}

#[cfg(test)]
impl Host {
    /// A process that opens what it likes, and wishes for nothing.
    pub(crate) fn of_test() -> Self {
        Self {
            wishes: Wishes::new().expect("an event"),
            files: Arc::default(),
        }
    }
}

/// An open character device.
#[derive(Debug)]
pub struct Chardev {
    link: ArcSwap<Link>,
    /// Times that another back-end was put behind it.
    changes: AtomicU64,
    input: Watch,
    output: Watch,
}

impl Chardev {
    /// Opens what `kind` says. `option` names the option in errors, `label` the device in messages.
    ///
    /// # Errors
    /// What cannot be opened, under the option's name.
    pub fn open(
        option: &str,
        label: &str,
        kind: &ChardevKind,
        host: &Host,
    ) -> Result<Self, BadOption> {
        let link = open(option, label, kind, host)?;
        let chardev = Self::around(link);
        chardev.map_err(|error| BadOption::value(option, label, error, "fewer of them"))
    }

    fn around(link: Link) -> io::Result<Self> {
        let chardev = Self {
            link: ArcSwap::from_pointee(link),
            changes: AtomicU64::new(0),
            input: Watch::input()?,
            output: Watch::input()?,
        };
        chardev.watch(&chardev.link())?;
        Ok(chardev)
    }

    /// Puts what `kind` says in the place of what is behind it. Whoever was at the other end is sent
    /// away.
    ///
    /// # Errors
    /// As [`Chardev::open`]; then everything is as before.
    pub fn change(
        &self,
        option: &str,
        label: &str,
        kind: &ChardevKind,
        host: &Host,
    ) -> Result<(), BadOption> {
        let next = Arc::new(open(option, label, kind, host)?);
        self.watch(&next)
            .map_err(|error| BadOption::value(option, label, error, "fewer of them"))?;
        let last = self.link.swap(next);
        self.changes.fetch_add(1, Ordering::Relaxed);
        let _ = self.input.remove(last.input());
        let _ = self.output.remove(last.output());
        if let Some(socket) = last.socket() {
            socket.hang_up();
        }
        Ok(())
    }

    /// Reads what has come in; 0 bytes mean that nothing will come any more.
    ///
    /// # Errors
    /// `WouldBlock` where there is nothing now, or nobody at the other end.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.link().read(buffer)
    }

    /// Writes some of `bytes` and says how many. With nobody at the other end they are gone, as
    /// on a real line.
    ///
    /// # Errors
    /// `WouldBlock` where the other end is slow; else those of the host.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.link().write(bytes)
    }

    /// Writes some of `bytes` to somebody who is to hear them, and says how many.
    ///
    /// # Errors
    /// As [`Chardev::write`], and where nobody listens.
    pub fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        let link = self.link();
        match link.socket() {
            Some(socket) => socket.send(bytes),
            None => link.write(bytes),
        }
    }

    /// Becomes readable when [`Chardev::read`] has something.
    pub fn input(&self) -> BorrowedFd<'_> {
        self.input.as_fd()
    }

    /// Becomes readable, too, when [`Chardev::write`] takes something.
    pub fn output(&self) -> BorrowedFd<'_> {
        self.output.as_fd()
    }

    /// Whether somebody is at the other end.
    pub fn is_connected(&self) -> bool {
        self.link()
            .socket()
            .is_none_or(socket::Socket::is_connected)
    }

    /// What it is, in the words of QEMU's monitor.
    pub fn description(&self) -> String {
        self.link().description()
    }

    /// The number of whoever is at the other end: each one has another.
    pub fn peer(&self) -> Option<u64> {
        let number = match self.link().socket() {
            Some(socket) => socket.peer_number()?,
            None => 0,
        };
        Some(self.changes.load(Ordering::Relaxed) << 32 | number)
    }

    /// Whether the guest must not start before somebody is at the other end.
    pub fn awaits_client(&self) -> bool {
        let link = self.link();
        link.socket().is_some_and(socket::Socket::awaits_client)
    }

    /// Takes a peer that is waiting to be let in, where there is none yet.
    pub fn let_in(&self) {
        if let Some(socket) = self.link().socket() {
            socket.let_in();
        }
    }

    /// Sends the peer of a socket away.
    pub fn hang_up(&self) {
        if let Some(socket) = self.link().socket() {
            socket.hang_up();
        }
    }

    /// Keeps descriptors that peers pass from now on, for [`Chardev::passed`].
    pub fn want_passed(&self) {
        if let Some(socket) = self.link().socket() {
            socket.passing().want();
        }
    }

    /// Takes the descriptors that came with what was read.
    pub fn passed(&self) -> Vec<OwnedFd> {
        let link = self.link();
        link.socket()
            .map_or_else(Vec::new, |socket| socket.passing().take())
    }

    /// Takes out at most `size` bytes of what was written to a ring. `None` where it is none.
    pub fn take_written(&self, size: usize) -> Option<Vec<u8>> {
        self.link().ring().map(|ring| ring.take(size))
    }

    /// Has `bytes` read from a ring. `None` where it is none.
    pub fn type_in(&self, bytes: &[u8]) -> Option<()> {
        self.link().ring().map(|ring| ring.put(bytes))
    }

    /// The name of the user's end of a pseudo-terminal.
    pub fn pty(&self) -> Option<String> {
        self.link().pty().map(str::to_owned)
    }

    /// The directory that this device's file must be removed from at the end, if any.
    pub fn leaves_file_in(&self) -> Option<PathBuf> {
        let link = self.link();
        Some(link.socket()?.listens_in()?.to_owned())
    }

    fn link(&self) -> Arc<Link> {
        self.link.load_full()
    }

    fn watch(&self, link: &Link) -> io::Result<()> {
        self.input.add(link.input())?;
        self.output.add(link.output())
    }
}

fn open(option: &str, label: &str, kind: &ChardevKind, host: &Host) -> Result<Link, BadOption> {
    let bad = |error: io::Error| match kind {
        ChardevKind::File { path, .. } => {
            let accepted = "a file that can be written";
            BadOption::property(option, "path", &path.display().to_string(), error, accepted)
        }
        ChardevKind::Pipe { path } => {
            let accepted = "FIFOs, PATH.in and PATH.out, or one at PATH";
            BadOption::property(option, "path", &path.display().to_string(), error, accepted)
        }
        ChardevKind::Socket(socket) => {
            let accepted = match socket.server {
                true => "a place not in use",
                false => "a socket that listens",
            };
            match &socket.endpoint {
                Endpoint::Unix(path) => {
                    let path = path.display().to_string();
                    BadOption::property(option, "path", &path, error, accepted)
                }
                Endpoint::Passed(name) => {
                    let accepted = "the name of a socket that a monitor has passed";
                    BadOption::property(option, "fd", name, error, accepted)
                }
                endpoint => BadOption::value(option, &endpoint.to_string(), error, accepted),
            }
        }
        _ => BadOption::value(option, label, error, "another back-end"),
    };
    Link::open(label, kind, host).map_err(bad)
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

#[cfg(test)]
mod tests;
