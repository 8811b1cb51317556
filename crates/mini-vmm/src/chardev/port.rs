//! A character device as the host end of a virtio-serial port.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use virtio_serial::PortBackend;

use super::{Chardev, Writable};

/// The host end of a port.
#[derive(Debug)]
pub struct ChardevPort {
    chardev: Arc<Chardev>,
    /// What can be waited for when the other end is slow, kept so that it can be lent.
    writable: Option<Writable>,
    /// Whose it is.
    peer: Option<u64>,
}

impl ChardevPort {
    /// A port on `chardev`, which belongs to it from now on.
    pub fn new(chardev: Arc<Chardev>) -> Self {
        let mut port = Self {
            chardev,
            writable: None,
            peer: None,
        };
        port.meet();
        port
    }
}

impl ChardevPort {
    /// Gets to know who is at the other end now.
    fn meet(&mut self) {
        self.peer = self.chardev.peer();
        self.writable = Writable::of(self.chardev.link());
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
        self.writable.as_ref().and_then(Writable::fd)
    }

    /// Somebody else than before is nobody, until he is taken in.
    fn is_connected(&self) -> bool {
        self.chardev.is_connected() && self.chardev.peer() == self.peer
    }

    fn poll_connected(&mut self) -> bool {
        self.chardev.let_in();
        self.meet();
        self.is_connected()
    }
}

#[cfg(test)]
#[path = "port_tests.rs"]
mod tests;
