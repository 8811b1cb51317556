//! Where entropy comes from.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::rand::{GetRandomFlags, getrandom};

/// A source of random bytes that never blocks.
pub trait EntropySource: Send + 'static {
    /// Fills the start of `data`; returns how many bytes, of which at least one unless the source
    /// has dried up.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) where there is nothing yet:
    /// [`readiness`](Self::readiness) then says when to ask again. Any other error, or 0 bytes, has
    /// the guest's request completed with none; the next request asks again.
    fn fill(&mut self, data: &mut [u8]) -> io::Result<usize>;

    /// A descriptor that is readable once a source that had nothing has something.
    fn readiness(&self) -> Option<BorrowedFd<'_>>;
}

impl EntropySource for Box<dyn EntropySource> {
    fn fill(&mut self, data: &mut [u8]) -> io::Result<usize> {
        (**self).fill(data)
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        (**self).readiness()
    }
}

/// The host kernel's generator, by getrandom(2): QEMU's `rng-builtin`.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostRandom;

impl EntropySource for HostRandom {
    fn fill(&mut self, data: &mut [u8]) -> io::Result<usize> {
        Ok(getrandom(data, GetRandomFlags::NONBLOCK)?)
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// A file that yields random bytes, such as `/dev/urandom`, `/dev/hwrng` or a FIFO: QEMU's
/// `rng-random`.
#[derive(Debug)]
pub struct FileSource {
    file: File,
}

impl FileSource {
    /// Takes entropy from `file`, open for reading, which becomes nonblocking.
    ///
    /// # Errors
    /// Where the descriptor cannot be made nonblocking.
    pub fn new(file: File) -> io::Result<Self> {
        fcntl_setfl(&file, fcntl_getfl(&file)? | OFlags::NONBLOCK)?;
        Ok(Self { file })
    }
}

impl EntropySource for FileSource {
    fn fill(&mut self, data: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.file.read(data) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }
}
