//! Frames on stream sockets: to a peer that is there, or to one at a time of those that come.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::net::SocketFlags;
use virtio_net::guest_io::Iovecs;
use virtio_net::{Framed, Line};
use vm_memory::bitmap::BitmapSlice;

use crate::chardev::Watch;
use crate::files::connected;

/// A stream socket, or one that listens. The descriptors to wait for stay the same while peers come
/// and go.
pub(super) struct Stream {
    listener: Option<OwnedFd>,
    peer: Mutex<Option<Framed>>,
    /// Holds the listener and the peer.
    input: Watch,
    output: Watch,
}

impl Stream {
    /// On `socket`, which is connected.
    pub(super) fn on(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        let stream = Self::empty()?;
        *stream.peer() = Some(stream.meet(socket)?);
        Ok(stream)
    }

    /// On `socket`, which is connected or about to be; waits until it is.
    pub(super) fn connected(socket: OwnedFd) -> io::Result<Self> {
        let mut fds = [rustix::event::PollFd::new(
            &socket,
            rustix::event::PollFlags::OUT,
        )];
        rustix::event::poll(&mut fds, None)?;
        connected(&socket)?;
        Self::on(socket)
    }

    /// On a socket that listens.
    pub(super) fn listening(listener: OwnedFd) -> io::Result<Self> {
        let mut stream = Self::empty()?;
        stream.input.add(&listener)?;
        stream.listener = Some(listener);
        Ok(stream)
    }

    /// As [`Line::receive`]. Where nobody is there, or no longer, somebody may come.
    pub(super) fn receive<B: BitmapSlice>(&self, packet: &mut Iovecs<'_, B>) -> io::Result<usize> {
        let mut peer = self.peer();
        if peer.is_none() {
            *peer = self.accept();
        }
        let Some(framed) = &mut *peer else {
            return Err(ErrorKind::WouldBlock.into());
        };
        match framed.receive(packet) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(error),
            Err(error) if self.listener.is_some() => {
                log::info!("the peer of a network back-end has gone: {error}");
                *peer = None;
                Err(ErrorKind::WouldBlock.into())
            }
            Err(_) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(len) => Ok(len),
        }
    }

    /// As [`Line::send`]; frames for nobody are lost.
    pub(super) fn send<B: BitmapSlice>(&self, packet: &mut Iovecs<'_, B>) -> io::Result<()> {
        match &mut *self.peer() {
            Some(peer) => peer.send(packet),
            None => Ok(()),
        }
    }

    /// As [`Line::flush`].
    pub(super) fn flush(&self) -> io::Result<()> {
        match &mut *self.peer() {
            Some(peer) => peer.flush(),
            None => Ok(()),
        }
    }

    /// Readable when somebody comes, or a frame.
    pub(super) fn input(&self) -> BorrowedFd<'_> {
        self.input.as_fd()
    }

    /// Readable when the peer takes more.
    pub(super) fn output(&self) -> BorrowedFd<'_> {
        self.output.as_fd()
    }

    fn empty() -> io::Result<Self> {
        Ok(Self {
            listener: None,
            peer: Mutex::new(None),
            input: Watch::input()?,
            output: Watch::output()?,
        })
    }

    fn accept(&self) -> Option<Framed> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let listener = self.listener.as_ref()?;
        let socket = rustix::net::accept_with(listener, flags).ok()?;
        // One that the host has no descriptors for is gone again.
        self.meet(socket).ok()
    }

    fn meet(&self, socket: OwnedFd) -> io::Result<Framed> {
        let framed = Framed::undivided(socket);
        self.input.add(framed.input())?;
        self.output.add(framed.output().0)?;
        Ok(framed)
    }

    /// Whoever panicked with the lock has left a peer or none.
    fn peer(&self) -> MutexGuard<'_, Option<Framed>> {
        self.peer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
