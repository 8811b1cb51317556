//! The host end of a port.

use std::io;
use std::os::fd::BorrowedFd;

/// What a port's bytes come from and go to: a terminal, a file, a socket.
///
/// Nothing here blocks. The worker that has the port is the only caller, and it asks for readiness
/// through [`input`](Self::input) and [`output`](Self::output) only after a call would have blocked.
pub trait PortBackend: Send {
    /// Reads bytes for the guest into `buffer`, which is not empty. Called while somebody is
    /// connected, and only when the guest has room for at least one byte.
    ///
    /// 0 bytes mean that nothing will come until another peer connects.
    ///
    /// # Errors
    /// `WouldBlock` where there is nothing now. After any other error the worker reads no more until
    /// another peer connects.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes bytes of the guest, and returns how many it took, at least one.
    ///
    /// # Errors
    /// `WouldBlock` where it can take none now and has an [`output`](Self::output) to wait for.
    /// After any other error the rest of the guest's buffer is dropped.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// A descriptor that is readable when [`read`](Self::read) has something, or when a peer waits
    /// to be taken in. `None` where there is no such descriptor: the back-end is then read whenever
    /// the guest has room. A descriptor that cannot be watched (a regular file) counts as `None`.
    fn input(&self) -> Option<BorrowedFd<'_>>;

    /// A descriptor that is writable when [`write`](Self::write) takes something. `None` where it
    /// always does.
    fn output(&self) -> Option<BorrowedFd<'_>>;

    /// Whether somebody is at the other end, as far as is known. What the guest sends to nobody is
    /// dropped. Asked after every call that can have found out.
    ///
    /// By default somebody always is. A back-end whose peers come and go implements this and
    /// [`poll_connected`](Self::poll_connected).
    fn is_connected(&self) -> bool {
        true
    }

    /// Takes in a peer, if there is none and one waits, and says whether somebody is connected now.
    /// Called at the start, and after that while nobody is connected. Only here may a back-end
    /// begin to lend other descriptors than before.
    fn poll_connected(&mut self) -> bool {
        self.is_connected()
    }

    /// The guest opened or closed its end of the port.
    fn guest_opened(&mut self, open: bool) {
        let _ = open;
    }
}

/// Takes everything, gives nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Null;

impl PortBackend for Null {
    fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        Ok(0)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn input(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn output(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
