//! The host end of a network device.

use std::io;
use std::os::fd::BorrowedFd;

use virtio_device::Interest;
use virtio_device::vm_memory::bitmap::BitmapSlice;

use crate::Offloads;
use crate::guest_io::Iovecs;

/// The way of frames of one pair of queues between the device and its host.
///
/// A frame is an Ethernet frame without its check sequence. Where [`Facts::header`] is set, a
/// header of [`HEADER`](crate::HEADER) bytes goes before it. Nothing here blocks.
pub trait Line: Send + 'static {
    /// Receives one frame into `packet`, which has room for 64 KiB and some. Returns its length,
    /// header included.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock): there is none, [`input`](Self::input) will say
    /// when. [`UnexpectedEof`](io::ErrorKind::UnexpectedEof): there never will be one again. Any
    /// other error costs one frame, or is counted as one.
    fn receive<B: BitmapSlice>(&mut self, packet: &mut Iovecs<'_, B>) -> io::Result<usize>;

    /// Sends `packet`, one frame.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock): not now, and nothing was sent;
    /// [`output`](Self::output) will say when. With any other error the frame is lost.
    fn send<B: BitmapSlice>(&mut self, packet: &mut Iovecs<'_, B>) -> io::Result<()>;

    /// Goes on with what a [`send`](Self::send) that succeeded has left to do.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// A descriptor that is readable when there may be a frame. Always the same one.
    fn input(&self) -> BorrowedFd<'_>;

    /// A descriptor, and what it is to be ready for when a frame may be sent. Always the same one,
    /// and another than [`input`](Self::input).
    fn output(&self) -> (BorrowedFd<'_>, Interest);
}

/// What all lines of a device have in common.
pub trait Backend: Send + Sync + 'static {
    /// What it can do. Always the same.
    fn facts(&self) -> Facts;

    /// What the driver takes from now on. Called where [`Facts::header`] is set only.
    ///
    /// # Errors
    /// Where the host refuses; the driver is then told that its command failed.
    fn set_offloads(&self, offloads: Offloads) -> io::Result<()>;

    /// How many lines, from the first, are in use from now on.
    ///
    /// # Errors
    /// As [`set_offloads`](Self::set_offloads).
    fn set_lines(&self, count: u16) -> io::Result<()>;
}

/// What a back-end can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Frames come and go with a header.
    pub header: bool,
    /// Unfinished frames that it takes, and makes if the driver takes them.
    pub offloads: Offloads,
}

/// A back-end of frames and nothing besides.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain;

impl Backend for Plain {
    fn facts(&self) -> Facts {
        Facts {
            header: false,
            offloads: Offloads::NONE,
        }
    }

    fn set_offloads(&self, _: Offloads) -> io::Result<()> {
        Ok(())
    }

    fn set_lines(&self, _: u16) -> io::Result<()> {
        Ok(())
    }
}
