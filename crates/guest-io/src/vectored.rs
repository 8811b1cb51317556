//! Reads and writes that are done when the call returns: `preadv2(2)` and `pwritev2(2)`.
//!
//! A signal never shows: `EINTR` is retried. Writing to a pipe or socket that nobody reads raises
//! `SIGPIPE` where the process has not set it to be ignored, as Rust programs do by default.
//!
//! The system calls are made in line: not by the C library's functions, nor by functions of our own
//! if it can be helped. Where the kernel does not trust predictions of returns (`spec_rstack_overflow`
//! on AMD's processors), the first return to a caller from before a system call costs as much as 500
//! instructions, and each one after it some 50. So all that lies between these calls and the loop of a
//! worker is `inline(always)`.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::ops::BitOr;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr;

use libc::{c_int, iovec};
use rustix::io::{Errno, ReadWriteFlags, preadv2, pwritev2};
use vm_memory::bitmap::BitmapSlice;

use crate::Iovecs;

/// How a transfer is done: the `RWF_` flags of `preadv2(2)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(c_int);

impl Flags {
    /// Nothing special.
    pub const NONE: Self = Self(0);
    /// Fails with [`ErrorKind::WouldBlock`] (or transfers less) instead of waiting for a device.
    /// Not every file system can; the others answer `EOPNOTSUPP`.
    pub const NOWAIT: Self = Self(libc::RWF_NOWAIT);
    /// A write is on stable storage when it is done.
    pub const DSYNC: Self = Self(libc::RWF_DSYNC);

    /// Whether all flags of `other` are set.
    #[inline]
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The `RWF_` bits.
    pub(crate) fn bits(self) -> c_int {
        self.0
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Reads from byte `offset` of a file into guest memory: one system call, maybe less than asked
/// for. Returns the number of bytes read, which are marked dirty and gone from `iovecs`; 0 at the
/// end of the file.
///
/// # Errors
///
/// Those of `preadv2(2)`. An offset over `i64::MAX` is [`ErrorKind::InvalidInput`].
#[inline(always)]
pub fn read_at<B: BitmapSlice>(
    fd: impl AsFd,
    iovecs: &mut Iovecs<'_, B>,
    offset: u64,
    flags: Flags,
) -> io::Result<usize> {
    let offset = file_offset(offset)?;
    let count = read(fd.as_fd(), iovecs.next_mut(), offset, flags)?;
    iovecs.filled(count);
    Ok(count)
}

/// Writes guest memory to a file, from its byte `offset` on: one system call, maybe less than
/// asked for. Returns the number of bytes written, which are gone from `iovecs`.
///
/// # Errors
///
/// Those of `pwritev2(2)`. An offset over `i64::MAX` is [`ErrorKind::InvalidInput`].
#[inline(always)]
pub fn write_at<B: BitmapSlice>(
    fd: impl AsFd,
    iovecs: &mut Iovecs<'_, B>,
    offset: u64,
    flags: Flags,
) -> io::Result<usize> {
    let offset = file_offset(offset)?;
    let count = write(fd.as_fd(), iovecs.next(), offset, flags)?;
    iovecs.written(count);
    Ok(count)
}

/// Reads what a stream (pipe, socket, terminal) has to offer, or a file from its own position on.
/// Otherwise as [`read_at`].
///
/// # Errors
///
/// Those of `preadv2(2)`.
#[inline(always)]
pub fn readv<B: BitmapSlice>(
    fd: impl AsFd,
    iovecs: &mut Iovecs<'_, B>,
    flags: Flags,
) -> io::Result<usize> {
    let count = read(fd.as_fd(), iovecs.next_mut(), FILE_POSITION, flags)?;
    iovecs.filled(count);
    Ok(count)
}

/// Writes as much as a stream takes, or to a file from its own position on. Otherwise as
/// [`write_at`].
///
/// # Errors
///
/// Those of `pwritev2(2)`.
#[inline(always)]
pub fn writev<B: BitmapSlice>(
    fd: impl AsFd,
    iovecs: &mut Iovecs<'_, B>,
    flags: Flags,
) -> io::Result<usize> {
    let count = write(fd.as_fd(), iovecs.next(), FILE_POSITION, flags)?;
    iovecs.written(count);
    Ok(count)
}

/// Fills all of `iovecs` from byte `offset` of a file on.
///
/// # Errors
///
/// [`ErrorKind::UnexpectedEof`] if the file ends before, else as [`read_at`]. What was read until
/// then stays, marked dirty.
pub fn read_exact_at<B: BitmapSlice>(
    fd: impl AsFd,
    iovecs: &mut Iovecs<'_, B>,
    offset: u64,
    flags: Flags,
) -> io::Result<()> {
    let fd = fd.as_fd();
    repeat(iovecs, offset, ErrorKind::UnexpectedEof, |iovecs, at| {
        read_at(fd, iovecs, at, flags)
    })
}

/// Writes all of `iovecs` to a file, from its byte `offset` on.
///
/// # Errors
///
/// [`ErrorKind::WriteZero`] if the file takes no more, else as [`write_at`].
pub fn write_all_at<B: BitmapSlice>(
    fd: impl AsFd,
    iovecs: &mut Iovecs<'_, B>,
    offset: u64,
    flags: Flags,
) -> io::Result<()> {
    let fd = fd.as_fd();
    repeat(iovecs, offset, ErrorKind::WriteZero, |iovecs, at| {
        write_at(fd, iovecs, at, flags)
    })
}

/// Fills all of `iovecs` from a stream.
///
/// # Errors
///
/// [`ErrorKind::UnexpectedEof`] if the stream ends before, else as [`readv`].
pub fn readv_exact<B: BitmapSlice>(
    fd: impl AsFd,
    iovecs: &mut Iovecs<'_, B>,
    flags: Flags,
) -> io::Result<()> {
    let fd = fd.as_fd();
    repeat(iovecs, 0, ErrorKind::UnexpectedEof, |iovecs, _| {
        readv(fd, iovecs, flags)
    })
}

/// Writes all of `iovecs` to a stream.
///
/// # Errors
///
/// [`ErrorKind::WriteZero`] if the stream takes no more, else as [`writev`].
pub fn writev_all<B: BitmapSlice>(
    fd: impl AsFd,
    iovecs: &mut Iovecs<'_, B>,
    flags: Flags,
) -> io::Result<()> {
    let fd = fd.as_fd();
    repeat(iovecs, 0, ErrorKind::WriteZero, |iovecs, _| {
        writev(fd, iovecs, flags)
    })
}

/// Calls `transfer` with the offset it has got to, until nothing remains. Every round moves a
/// byte or ends the loop.
fn repeat<'m, B: BitmapSlice>(
    iovecs: &mut Iovecs<'m, B>,
    mut offset: u64,
    end: ErrorKind,
    transfer: impl Fn(&mut Iovecs<'m, B>, u64) -> io::Result<usize>,
) -> io::Result<()> {
    while !iovecs.is_empty() {
        let count = transfer(iovecs, offset)?;
        if count == 0 {
            return Err(end.into());
        }
        offset = offset.saturating_add(count as u64);
    }
    Ok(())
}

/// `offset`, unless it is past the last one. The kernel takes the one that would wrap to -1 for the
/// file's own position.
#[inline]
pub(crate) fn file_offset(offset: u64) -> io::Result<u64> {
    match i64::try_from(offset) {
        Ok(_) => Ok(offset),
        Err(_) => Err(ErrorKind::InvalidInput.into()),
    }
}

/// `preadv2` with `iovecs` that come from [`Iovecs::next_mut`].
#[inline(always)]
fn read(fd: BorrowedFd<'_>, iovecs: &mut [iovec], offset: u64, flags: Flags) -> io::Result<usize> {
    // SAFETY: An `IoSliceMut` is ABI-compatible with `iovec`, as its documentation promises, and as
    // long as nobody dereferences it no more than that: address and length, which rustix hands to
    // the kernel. So no Rust reference to guest memory comes to be. What they name is (a part of)
    // volatile slices that live as long as the `Iovecs` borrowed by our caller; the kernel may write
    // there until the call returns, and it touches nothing else.
    let slices = unsafe { &mut *(ptr::from_mut(iovecs) as *mut [IoSliceMut<'_>]) };
    loop {
        match preadv2(fd, slices, offset, flags.into()) {
            Err(Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

/// `pwritev2` with `iovecs` that come from [`Iovecs::next`].
#[inline(always)]
fn write(fd: BorrowedFd<'_>, iovecs: &[iovec], offset: u64, flags: Flags) -> io::Result<usize> {
    // SAFETY: As in `read`, of `IoSlice`, from which the kernel reads.
    let slices = unsafe { &*(ptr::from_ref(iovecs) as *const [IoSlice<'_>]) };
    loop {
        match pwritev2(fd, slices, offset, flags.into()) {
            Err(Errno::INTR) => {}
            result => return Ok(result?),
        }
    }
}

impl From<Flags> for ReadWriteFlags {
    #[inline]
    fn from(Flags(bits): Flags) -> Self {
        Self::from_bits_retain(bits as _)
    }
}

/// The offset that stands for the file's own position.
const FILE_POSITION: u64 = u64::MAX;
