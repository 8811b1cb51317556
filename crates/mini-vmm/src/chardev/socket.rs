//! Stream sockets, one peer at a time.
//!
//! The descriptors to wait for stay the same while peers come and go: each is an epoll instance,
//! which holds the listener, the stream, or the timer after which a client tries again.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::PollFlags;
use rustix::net::{Shutdown, SocketFlags, accept_with, shutdown, sockopt};

use super::passing::{self, Passing};
use super::retry::Retry;
use super::watch::Watch;
use super::{Host, is_ready, would_block};
use crate::files::{Endpoint, connected};
use crate::options::SocketOptions;

#[derive(Debug)]
pub(super) struct Socket {
    options: SocketOptions,
    role: Role,
    peer: Mutex<Peer>,
    /// Peers there have been.
    peers: AtomicU64,
    /// Holds the listener or the timer, then the stream.
    input: Watch,
    output: Watch,
    passing: Passing,
}

#[derive(Debug)]
enum Role {
    Server(OwnedFd),
    Client,
    /// A client that tries again.
    Persistent(Retry),
}

/// Who is at the other end.
#[derive(Debug)]
enum Peer {
    None,
    /// Nobody yet, but this is going to be connected.
    Coming(OwnedFd),
    There(Arc<OwnedFd>),
}

impl Socket {
    pub(super) fn open(options: &SocketOptions, host: &Host) -> io::Result<Self> {
        let (input, output) = (Watch::input()?, Watch::output()?);
        let role = match (options.server, options.reconnect) {
            (true, _) => Role::Server(host.files.listen(&options.endpoint)?),
            (false, None) => Role::Client,
            (false, Some(delay)) => Role::Persistent(Retry::new(delay, Arc::clone(&host.files))?),
        };
        let socket = Self {
            options: options.clone(),
            role,
            peer: Mutex::new(Peer::None),
            peers: AtomicU64::new(0),
            input,
            output,
            passing: Passing::default(),
        };
        match &socket.role {
            Role::Server(listener) => socket.input.add(listener)?,
            Role::Client => {
                let stream = host.files.connect(&options.endpoint)?;
                // Nobody is held up yet, so this may wait for the answer.
                is_ready(stream.as_fd(), PollFlags::OUT, PATIENCE);
                connected(&stream)?;
                *socket.peer() = socket.accepted(stream)?;
            }
            Role::Persistent(retry) => {
                socket.input.add(retry.timer())?;
                *socket.peer() = socket.connect(retry);
            }
        }
        Ok(socket)
    }

    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.let_in();
        let mut peer = self.peer();
        let Peer::There(stream) = &*peer else {
            return would_block();
        };
        match self.passing.receive(stream, buffer) {
            Err(error) if is_transient(&error) => would_block(),
            Ok(read) if read > 0 => Ok(read),
            _ => self.disconnect(&mut peer),
        }
    }

    /// As [`Socket::send`], but for a peer that does not listen, to whom all can be said: the reader
    /// notices the end when it has read what was sent before, and takes the next peer.
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self.send(bytes) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Ok(bytes.len()),
            result => result,
        }
    }

    pub(super) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        let stream = self.client().ok_or(ErrorKind::NotConnected)?;
        match passing::send_some(&stream, bytes) {
            Err(error) if is_transient(&error) => would_block(),
            result => result,
        }
    }

    /// Takes a peer that is waiting, where there is none yet. One that is gone again, or that the
    /// host has no descriptor for, is none: the next one may be.
    pub(super) fn let_in(&self) {
        let mut peer = self.peer();
        let before = std::mem::replace(&mut *peer, Peer::None);
        *peer = match (before, &self.role) {
            (Peer::None, Role::Server(listener)) => self.accept(listener).unwrap_or(Peer::None),
            (Peer::None, Role::Persistent(retry)) if retry.is_due() => self.connect(retry),
            (Peer::Coming(stream), Role::Persistent(retry))
                if is_ready(stream.as_fd(), PollFlags::OUT, 0) =>
            {
                self.arrived(retry, stream)
            }
            (same, _) => same,
        };
    }

    pub(super) fn description(&self) -> String {
        let state = if self.is_connected() {
            ""
        } else {
            "disconnected:"
        };
        let role = if self.options.server {
            ",server=on"
        } else {
            ""
        };
        match &self.options.endpoint {
            Endpoint::Unix(_) if !self.options.server => format!("{state}unix"),
            endpoint => format!("{state}{endpoint}{role}"),
        }
    }

    pub(super) fn hang_up(&self) {
        // Nobody is told of what fails here but by the next read.
        let _ = self.disconnect(&mut self.peer());
    }

    pub(super) fn input(&self) -> &Watch {
        &self.input
    }

    pub(super) fn output(&self) -> &Watch {
        &self.output
    }

    pub(super) fn passing(&self) -> &Passing {
        &self.passing
    }

    /// The stream of whoever is at the other end.
    pub(super) fn client(&self) -> Option<Arc<OwnedFd>> {
        match &*self.peer() {
            Peer::There(stream) => Some(Arc::clone(stream)),
            _ => None,
        }
    }

    /// The number of the peer at the other end: each one has another.
    pub(super) fn peer_number(&self) -> Option<u64> {
        let peer = self.peer();
        let there = matches!(&*peer, Peer::There(_));
        there.then(|| self.peers.load(Ordering::Relaxed))
    }

    pub(super) fn is_connected(&self) -> bool {
        matches!(&*self.peer(), Peer::There(_))
    }

    pub(super) fn awaits_client(&self) -> bool {
        self.options.wait && !self.is_connected()
    }

    pub(super) fn listens_in(&self) -> Option<&Path> {
        let path = self.path()?;
        Some(
            path.parent()
                .filter(|parent| !parent.as_os_str().is_empty())
                .unwrap_or(Path::new(".")),
        )
    }

    /// The file that is this server's.
    fn path(&self) -> Option<&Path> {
        match (&self.role, &self.options.endpoint) {
            (Role::Server(_), Endpoint::Unix(path)) => Some(path),
            _ => None,
        }
    }

    fn peer(&self) -> MutexGuard<'_, Peer> {
        self.peer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(&self, listener: &OwnedFd) -> io::Result<Peer> {
        let stream = accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
        self.input.remove(listener)?;
        self.accepted(stream)
    }

    fn accepted(&self, stream: OwnedFd) -> io::Result<Peer> {
        rustix::io::ioctl_fionbio(&stream, true)?;
        if self.options.nodelay && matches!(self.options.endpoint, Endpoint::Tcp { .. }) {
            sockopt::set_tcp_nodelay(&stream, true)?;
        }
        self.input.add(&stream)?;
        self.output.add(&stream)?;
        self.peers.fetch_add(1, Ordering::Relaxed);
        Ok(Peer::There(Arc::new(stream)))
    }

    /// Begins to connect, or to wait until it is tried again.
    fn connect(&self, retry: &Retry) -> Peer {
        let coming = retry.connect(&self.options.endpoint);
        let watched = coming.and_then(|stream| {
            self.input.add_writable(&stream)?;
            Ok(stream)
        });
        match watched {
            Ok(stream) => Peer::Coming(stream),
            Err(_) => {
                retry.wait();
                Peer::None
            }
        }
    }

    /// A connection was made, or refused.
    fn arrived(&self, retry: &Retry, stream: OwnedFd) -> Peer {
        let _ = self.input.remove(&stream);
        let there = connected(&stream).and_then(|()| self.accepted(stream));
        there.unwrap_or_else(|_| {
            retry.wait();
            Peer::None
        })
    }

    /// Takes the stream out of both epoll instances: somebody else may still keep it open. A
    /// client's side ends for good, or tries again; a server's waits for the next client.
    fn disconnect(&self, peer: &mut Peer) -> io::Result<usize> {
        if let Peer::There(gone) = std::mem::replace(peer, Peer::None) {
            self.input.remove(&*gone)?;
            self.output.remove(&*gone)?;
            let _ = shutdown(&*gone, Shutdown::Both);
        }
        match &self.role {
            Role::Client => return Ok(0),
            Role::Server(listener) => self.input.add(listener)?,
            Role::Persistent(retry) => retry.wait(),
        }
        would_block()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(path) = self.path() {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// Milliseconds that a connection may take before the guest starts.
const PATIENCE: u32 = 999;
