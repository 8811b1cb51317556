//! The lines of all back-ends, as one type.

use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;

use virtio_device::Interest;
use virtio_net::guest_io::Iovecs;
use virtio_net::{FrameFd, Line};
use vm_memory::bitmap::BitmapSlice;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::hub::Port;
use super::stream::Stream;

/// The way of frames between a device and its host.
pub enum NetLine {
    /// A queue of a tap interface.
    Frames(FrameFd),
    /// A stream socket.
    Stream(Arc<Stream>),
    /// A hub.
    Hub(Port),
    /// Nothing: what is sent is lost, and nothing comes.
    Loose(Loose),
}

/// Descriptors that are never ready.
pub struct Loose([EventFd; 2]);

impl NetLine {
    /// A line that goes nowhere.
    ///
    /// # Errors
    /// A host without descriptors to give.
    pub fn loose() -> io::Result<Self> {
        let [input, output] = [EventFd::new(EFD_NONBLOCK)?, EventFd::new(EFD_NONBLOCK)?];
        Ok(Self::Loose(Loose([input, output])))
    }
}

impl Line for NetLine {
    fn receive<B: BitmapSlice>(&mut self, packet: &mut Iovecs<'_, B>) -> io::Result<usize> {
        match self {
            Self::Frames(line) => line.receive(packet),
            Self::Stream(line) => line.receive(packet),
            Self::Hub(port) => port.receive(packet),
            Self::Loose(_) => Err(ErrorKind::WouldBlock.into()),
        }
    }

    fn send<B: BitmapSlice>(&mut self, packet: &mut Iovecs<'_, B>) -> io::Result<()> {
        match self {
            Self::Frames(line) => line.send(packet),
            Self::Stream(line) => line.send(packet),
            Self::Hub(port) => port.send(packet),
            Self::Loose(_) => Ok(()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stream(line) => line.flush(),
            Self::Frames(_) | Self::Hub(_) | Self::Loose(_) => Ok(()),
        }
    }

    fn input(&self) -> BorrowedFd<'_> {
        match self {
            Self::Frames(line) => line.input(),
            Self::Stream(line) => line.input(),
            Self::Hub(port) => port.input(),
            Self::Loose(Loose([input, _])) => borrow(input),
        }
    }

    fn output(&self) -> (BorrowedFd<'_>, Interest) {
        match self {
            Self::Frames(line) => line.output(),
            Self::Stream(line) => (line.output(), Interest::Read),
            Self::Hub(port) => (port.output(), Interest::Read),
            Self::Loose(Loose([_, output])) => (borrow(output), Interest::Read),
        }
    }
}

/// The descriptor of an event.
pub(super) fn borrow(event: &EventFd) -> BorrowedFd<'_> {
    // SAFETY: the descriptor belongs to `event`, which lives as long as the borrow.
    unsafe { BorrowedFd::borrow_raw(event.as_raw_fd()) }
}
