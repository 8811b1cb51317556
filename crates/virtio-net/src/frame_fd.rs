//! A line on a descriptor that gives and takes whole frames.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use virtio_device::Interest;
use virtio_device::vm_memory::bitmap::BitmapSlice;

use crate::Line;
use crate::guest_io::{Flags, Iovecs, readv, writev};

/// A tap interface, a packet socket, a datagram socket: one frame for each read and each write,
/// moved between the descriptor and guest memory without a copy.
#[derive(Debug)]
pub struct FrameFd {
    input: OwnedFd,
    /// The same, for an event loop that takes a descriptor once only.
    output: OwnedFd,
}

impl FrameFd {
    /// A line on `fd`, which must not block.
    ///
    /// # Errors
    /// Where the host has no descriptors left.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        let output = fd.try_clone()?;
        Ok(Self { input: fd, output })
    }
}

impl Line for FrameFd {
    #[inline(always)]
    fn receive<B: BitmapSlice>(&mut self, packet: &mut Iovecs<'_, B>) -> io::Result<usize> {
        match readv(&self.input, packet, Flags::NONE)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            len => Ok(len),
        }
    }

    #[inline(always)]
    fn send<B: BitmapSlice>(&mut self, packet: &mut Iovecs<'_, B>) -> io::Result<()> {
        writev(&self.output, packet, Flags::NONE).map(drop)
    }

    fn input(&self) -> BorrowedFd<'_> {
        self.input.as_fd()
    }

    fn output(&self) -> (BorrowedFd<'_>, Interest) {
        (self.output.as_fd(), Interest::Write)
    }
}
