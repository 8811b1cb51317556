//! A character device as the host end of a virtio-serial port.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use rustix::stdio::stdout;
use virtio_serial::PortBackend;

use super::{Chardev, End, Link};

/// The host end of a port.
#[derive(Debug)]
pub struct ChardevPort {
    chardev: Arc<Chardev>,
    /// The client of a socket, kept so that its descriptor can be lent.
    client: Option<Arc<UnixStream>>,
}

impl ChardevPort {
    /// A port on `chardev`, which belongs to it from now on.
    pub fn new(chardev: Arc<Chardev>) -> Self {
        Self {
            chardev,
            client: None,
        }
    }
}

impl PortBackend for ChardevPort {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.chardev.read(buffer)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.chardev.write(bytes)
    }

    fn input(&self) -> Option<BorrowedFd<'_>> {
        Some(self.chardev.input())
    }

    /// Not [`Chardev::output`], which becomes readable where a writable one is asked for.
    fn output(&self) -> Option<BorrowedFd<'_>> {
        match &self.chardev.0 {
            Link::Socket(_) => self.client.as_deref().map(AsFd::as_fd),
            Link::Other { end, .. } => match end {
                End::Null => None,
                End::File(file) => Some(file.as_fd()),
                End::Stdio(_) => Some(stdout()),
                End::Pty { controller, .. } => Some(controller.as_fd()),
            },
        }
    }

    fn is_connected(&self) -> bool {
        self.chardev.is_connected()
    }

    fn poll_connected(&mut self) -> bool {
        self.chardev.let_in();
        self.client = match &self.chardev.0 {
            Link::Socket(socket) => socket.client(),
            Link::Other { .. } => None,
        };
        self.is_connected()
    }
}

#[cfg(test)]
#[path = "port_tests.rs"]
mod tests;
