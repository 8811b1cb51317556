//! A line on a byte stream.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::SendFlags;
use virtio_device::Interest;
use virtio_device::vm_memory::bitmap::BitmapSlice;

use crate::Line;
use crate::guest_io::Iovecs;

/// Frames on a stream socket, each after its length as a big-endian 32-bit number: what QEMU's
/// `socket` and `stream` back-ends speak, and passt.
///
/// Frames are small beside what a socket takes, so they are copied and go over it many at a time.
#[derive(Debug)]
pub struct Framed {
    input: OwnedFd,
    /// The same, for an event loop that takes a descriptor once only.
    output: Option<OwnedFd>,
    incoming: Buffer,
    outgoing: Buffer,
}

impl Framed {
    /// A line on the stream socket `fd`, which must not block.
    ///
    /// # Errors
    /// Where the host has no descriptors left.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        let output = Some(fd.try_clone()?);
        Ok(Self {
            output,
            ..Self::undivided(fd)
        })
    }

    /// The same with one descriptor for input and output, for whoever waits for each in another
    /// place.
    pub fn undivided(fd: OwnedFd) -> Self {
        Self {
            input: fd,
            output: None,
            incoming: Buffer::default(),
            outgoing: Buffer::default(),
        }
    }

    /// Length of the next frame, if all of it is at hand.
    fn next(&self) -> io::Result<Option<usize>> {
        let Some((prefix, rest)) = self.incoming.bytes().split_first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let len = u32::from_be_bytes(*prefix) as usize;
        if len > LONGEST {
            // Where the next frame begins is anybody's guess.
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok((rest.len() >= len).then_some(len))
    }

    fn fill(&mut self) -> io::Result<()> {
        let room = self.incoming.room();
        match retry(|| rustix::io::read(&self.input, &mut *room))? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            len => {
                self.incoming.end += len;
                Ok(())
            }
        }
    }

    fn append<B: BitmapSlice>(&mut self, packet: &mut Iovecs<'_, B>) -> io::Result<()> {
        let len = packet.remaining();
        if len > LONGEST {
            return Err(ErrorKind::InvalidInput.into());
        }
        let room = self.outgoing.room().get_mut(..PREFIX + len);
        let room = room.and_then(|room| room.split_first_chunk_mut());
        let Some((prefix, frame)) = room else {
            return Err(ErrorKind::WouldBlock.into());
        };
        *prefix = (len as u32).to_be_bytes();
        packet.copy_out(frame);
        self.outgoing.end += PREFIX + len;
        Ok(())
    }
}

impl Line for Framed {
    fn receive<B: BitmapSlice>(&mut self, packet: &mut Iovecs<'_, B>) -> io::Result<usize> {
        loop {
            if let Some(len) = self.next()? {
                let frame = self.incoming.bytes().get(PREFIX..PREFIX + len);
                packet.copy_in(frame.unwrap_or_default());
                self.incoming.take(PREFIX + len);
                return Ok(len);
            }
            self.fill()?;
        }
    }

    fn send<B: BitmapSlice>(&mut self, packet: &mut Iovecs<'_, B>) -> io::Result<()> {
        match self.append(packet) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.flush()?;
                self.append(packet)
            }
            done => done,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.outgoing.bytes().is_empty() {
            let bytes = self.outgoing.bytes();
            let sent = retry(|| rustix::net::send(&self.input, bytes, SendFlags::NOSIGNAL));
            match sent {
                Ok(len) => self.outgoing.take(len),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(error),
                Err(error) => {
                    self.outgoing = Buffer::default();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn input(&self) -> BorrowedFd<'_> {
        self.input.as_fd()
    }

    fn output(&self) -> (BorrowedFd<'_>, Interest) {
        let fd = self.output.as_ref().unwrap_or(&self.input);
        (fd.as_fd(), Interest::Write)
    }
}

/// Bytes on their way, in room for a long frame and some short ones.
#[derive(Debug, Default)]
struct Buffer {
    /// Allocated at the first use.
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Buffer {
    fn bytes(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Room behind the bytes. What is there moves to the front where that gains much.
    fn room(&mut self) -> &mut [u8] {
        if self.bytes.is_empty() {
            self.bytes = vec![0; CAPACITY].into();
        }
        if self.start == self.end || self.end > CAPACITY - ROOM {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        self.bytes.get_mut(self.end..).unwrap_or_default()
    }

    /// Forgets the first `len` bytes.
    fn take(&mut self, len: usize) {
        self.start = self.end.min(self.start + len);
    }
}

fn retry(mut call: impl FnMut() -> rustix::io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(rustix::io::Errno::INTR) => {}
            done => return Ok(done?),
        }
    }
}

/// Bytes of the length before each frame.
const PREFIX: usize = 4;
/// Of a frame on a stream: as long as QEMU takes them.
const LONGEST: usize = 4096 + (64 << 10);
/// Below this, room is made for whatever comes.
const ROOM: usize = PREFIX + LONGEST;
const CAPACITY: usize = 2 * ROOM;
