//! UNIX stream sockets, one client at a time.
//!
//! The descriptors to wait for stay the same while clients come and go: each is an epoll
//! instance, which holds the listener or the stream.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::watch::Watch;
use super::would_block;

#[derive(Debug)]
pub(super) struct Socket {
    server: Option<Server>,
    stream: Mutex<Option<Arc<UnixStream>>>,
    /// Peers there have been.
    peers: AtomicU64,
    /// Holds the listener, then the stream.
    input: Watch,
    output: Watch,
}

#[derive(Debug)]
struct Server {
    listener: UnixListener,
    path: PathBuf,
    wait: bool,
}

impl Socket {
    pub(super) fn open(path: &Path, server: bool, wait: bool) -> io::Result<Self> {
        let (input, output) = (Watch::input()?, Watch::output()?);
        let mut socket = Self {
            server: None,
            stream: Mutex::new(None),
            peers: AtomicU64::new(0),
            input,
            output,
        };
        if server {
            let listener = UnixListener::bind(path)?;
            let server = socket.server.insert(Server {
                listener,
                path: path.to_owned(),
                wait,
            });
            server.listener.set_nonblocking(true)?;
            socket.input.add(&server.listener)?;
        } else {
            let stream = socket.accepted(UnixStream::connect(path)?)?;
            socket.stream = Mutex::new(Some(stream));
        }
        Ok(socket)
    }

    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.let_in();
        let mut stream = self.stream();
        let Some(mut connected) = stream.as_deref() else {
            return would_block();
        };
        match connected.read(buffer) {
            Err(error) if is_transient(&error) => would_block(),
            Ok(read) if read > 0 => Ok(read),
            _ => self.disconnect(&mut stream),
        }
    }

    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self
            .stream()
            .as_deref()
            .map(|mut stream| stream.write(bytes))
        {
            Some(Err(error)) if is_transient(&error) => would_block(),
            Some(Ok(written)) => Ok(written),
            // The reader notices the end, and takes the next client.
            Some(Err(_)) | None => Ok(bytes.len()),
        }
    }

    /// Takes a client that is waiting, where there is none yet. One that is gone again, or that the
    /// host has no descriptor for, is none: the next one may be.
    pub(super) fn let_in(&self) {
        let mut stream = self.stream();
        if stream.is_none() {
            *stream = self.accept().unwrap_or_default();
        }
    }

    pub(super) fn description(&self) -> String {
        let state = if self.is_connected() {
            ""
        } else {
            "disconnected:"
        };
        match &self.server {
            Some(server) => format!("{state}unix:{},server=on", server.path.display()),
            None => format!("{state}unix"),
        }
    }

    pub(super) fn hang_up(&self) {
        // Nobody is told of what fails here but by the next read.
        let _ = self.disconnect(&mut self.stream());
    }

    pub(super) fn input(&self) -> &Watch {
        &self.input
    }

    pub(super) fn output(&self) -> &Watch {
        &self.output
    }

    /// The stream of whoever is at the other end.
    pub(super) fn client(&self) -> Option<Arc<UnixStream>> {
        self.stream().clone()
    }

    /// The number of the peer at the other end: each one has another.
    pub(super) fn peer(&self) -> Option<u64> {
        let stream = self.stream();
        stream.as_ref().map(|_| self.peers.load(Ordering::Relaxed))
    }

    pub(super) fn is_connected(&self) -> bool {
        self.stream().is_some()
    }

    pub(super) fn awaits_client(&self) -> bool {
        self.server.as_ref().is_some_and(|server| server.wait) && !self.is_connected()
    }

    pub(super) fn listens_in(&self) -> Option<&Path> {
        let path = &self.server.as_ref()?.path;
        Some(
            path.parent()
                .filter(|parent| !parent.as_os_str().is_empty())
                .unwrap_or(Path::new(".")),
        )
    }

    fn stream(&self) -> MutexGuard<'_, Option<Arc<UnixStream>>> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(&self) -> io::Result<Option<Arc<UnixStream>>> {
        let Some(server) = &self.server else {
            return Ok(None);
        };
        let (stream, _) = server.listener.accept()?;
        self.input.remove(&server.listener)?;
        self.accepted(stream).map(Some)
    }

    fn accepted(&self, stream: UnixStream) -> io::Result<Arc<UnixStream>> {
        stream.set_nonblocking(true)?;
        self.input.add(&stream)?;
        self.output.add(&stream)?;
        self.peers.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::new(stream))
    }

    /// Takes the stream out of both epoll instances: somebody else may still keep it open. A
    /// client's side ends for good, a server's waits for the next client.
    fn disconnect(&self, stream: &mut Option<Arc<UnixStream>>) -> io::Result<usize> {
        if let Some(gone) = stream.take() {
            self.input.remove(&*gone)?;
            self.output.remove(&*gone)?;
        }
        let Some(server) = &self.server else {
            return Ok(0);
        };
        self.input.add(&server.listener)?;
        would_block()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            let _ = std::fs::remove_file(&server.path);
        }
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
