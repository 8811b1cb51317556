//! The lines of all back-ends, as one type.

use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;

use virtio_device::Interest;
use virtio_net::guest_io::{Iovecs, Storage};
use virtio_net::{FrameFd, Line};
use vm_memory::bitmap::BitmapSlice;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::datagram::Datagram;
use super::dump::{DumpQueue, Dumps};
use super::hub::Port;
use super::stream::Stream;

/// A line between a device and its host, whose frames may be captured.
pub struct NetLine {
    way: Way,
    dumps: Arc<Dumps>,
    /// Of the header that goes before a frame, in bytes.
    header: usize,
    /// A frame that is captured, and what it passes through.
    copy: Vec<u8>,
    storage: Storage,
}

/// The way that frames take.
pub(super) enum Way {
    /// A queue of a tap interface.
    Frames(FrameFd),
    /// A stream socket.
    Stream(Arc<Stream>),
    /// A datagram socket.
    Datagram(Arc<Datagram>),
    /// A hub.
    Hub(Port),
    /// None: what is sent is lost, and nothing comes.
    Loose(Loose),
}

/// Descriptors that are never ready.
pub(super) struct Loose([EventFd; 2]);

impl NetLine {
    pub(super) fn new(way: Way, dumps: Arc<Dumps>, header: usize) -> Self {
        Self {
            way,
            dumps,
            header,
            copy: Vec::new(),
            storage: Storage::new(),
        }
    }

    /// A line that goes nowhere.
    ///
    /// # Errors
    /// A host without descriptors to give.
    pub fn loose() -> io::Result<Self> {
        let [input, output] = [EventFd::new(EFD_NONBLOCK)?, EventFd::new(EFD_NONBLOCK)?];
        let way = Way::Loose(Loose([input, output]));
        Ok(Self::new(way, Arc::default(), 0))
    }

    /// Receives by way of the copy.
    fn receive_captured<B: BitmapSlice>(
        &mut self,
        packet: &mut Iovecs<'_, B>,
    ) -> io::Result<usize> {
        self.copy.resize(packet.remaining().min(LONGEST), 0);
        let mut copy = Iovecs::<B>::new(&mut self.storage);
        copy.push_bytes(&mut self.copy);
        let len = self.way.receive(&mut copy)?;
        drop(copy);
        let frame = self.copy.get(..len).unwrap_or(&self.copy);
        packet.copy_in(frame);
        let frame = frame.get(self.header..).unwrap_or_default();
        self.dumps.record(DumpQueue::Transmit, frame);
        Ok(len)
    }

    /// Sends the copy.
    fn send_captured<B: BitmapSlice>(&mut self, packet: &mut Iovecs<'_, B>) -> io::Result<()> {
        self.copy.resize(packet.remaining().min(LONGEST), 0);
        packet.copy_out(&mut self.copy);
        let mut copy = Iovecs::<B>::new(&mut self.storage);
        copy.push_bytes(&mut self.copy);
        self.way.send(&mut copy)?;
        drop(copy);
        let frame = self.copy.get(self.header..).unwrap_or_default();
        self.dumps.record(DumpQueue::Receive, frame);
        Ok(())
    }
}

impl Line for NetLine {
    fn receive<B: BitmapSlice>(&mut self, packet: &mut Iovecs<'_, B>) -> io::Result<usize> {
        match self.dumps.are_any() {
            true => self.receive_captured(packet),
            false => self.way.receive(packet),
        }
    }

    fn send<B: BitmapSlice>(&mut self, packet: &mut Iovecs<'_, B>) -> io::Result<()> {
        match self.dumps.are_any() {
            true => self.send_captured(packet),
            false => self.way.send(packet),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.way.flush()
    }

    fn input(&self) -> BorrowedFd<'_> {
        self.way.input()
    }

    fn output(&self) -> (BorrowedFd<'_>, Interest) {
        self.way.output()
    }
}

impl Line for Way {
    fn receive<B: BitmapSlice>(&mut self, packet: &mut Iovecs<'_, B>) -> io::Result<usize> {
        match self {
            Self::Frames(line) => line.receive(packet),
            Self::Stream(line) => line.receive(packet),
            Self::Datagram(line) => line.receive(packet),
            Self::Hub(port) => port.receive(packet),
            Self::Loose(_) => Err(ErrorKind::WouldBlock.into()),
        }
    }

    fn send<B: BitmapSlice>(&mut self, packet: &mut Iovecs<'_, B>) -> io::Result<()> {
        match self {
            Self::Frames(line) => line.send(packet),
            Self::Stream(line) => line.send(packet),
            Self::Datagram(line) => line.send(packet),
            Self::Hub(port) => port.send(packet),
            Self::Loose(_) => Ok(()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stream(line) => line.flush(),
            Self::Frames(_) | Self::Datagram(_) | Self::Hub(_) | Self::Loose(_) => Ok(()),
        }
    }

    fn input(&self) -> BorrowedFd<'_> {
        match self {
            Self::Frames(line) => line.input(),
            Self::Stream(line) => line.input(),
            Self::Datagram(line) => line.input(),
            Self::Hub(port) => port.input(),
            Self::Loose(Loose([input, _])) => borrow(input),
        }
    }

    fn output(&self) -> (BorrowedFd<'_>, Interest) {
        match self {
            Self::Frames(line) => line.output(),
            Self::Stream(line) => (line.output(), Interest::Read),
            Self::Datagram(line) => line.output(),
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

/// A frame with its header: 64 KiB, and what goes before that.
const LONGEST: usize = 4096 + (64 << 10);
