//! The data of a request and of its reply, wherever the transport has them.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::BorrowedFd;

use rustix::io::{Errno, ReadWriteFlags, preadv2, pwritev2};

use crate::Result;

/// The data that a Twrite brings and the place for the data of a reply.
///
/// Where an operation says that it may not `wait`, what would is [`Errno::AGAIN`].
pub trait Payload {
    /// Bytes that the reply's data may have.
    fn room(&self) -> u32;

    /// Reads up to `len` bytes of `file` from `offset` on into the reply's data. Returns how many.
    ///
    /// # Errors
    /// Those of `preadv2(2)`.
    fn read_from(&mut self, file: BorrowedFd<'_>, offset: u64, len: u32, wait: bool)
    -> Result<u32>;

    /// Writes the first `len` bytes of the request's data to `file` from `offset` on, durably if
    /// `sync`. Returns how many.
    ///
    /// # Errors
    /// Those of `pwritev2(2)`.
    fn write_to(
        &mut self,
        file: BorrowedFd<'_>,
        offset: u64,
        len: u32,
        sync: bool,
        wait: bool,
    ) -> Result<u32>;

    /// Copies `bytes` to the start of the reply's data.
    ///
    /// # Errors
    /// Where there is no room for them.
    fn put(&mut self, bytes: &[u8]) -> Result<()>;

    /// Fills `bytes` from the start of the request's data.
    ///
    /// # Errors
    /// Where there is less.
    fn get(&mut self, bytes: &mut [u8]) -> Result<()>;
}

/// A [`Payload`] in memory.
#[derive(Clone, Debug, Default)]
pub struct Buffers {
    /// The request's data.
    pub request: Vec<u8>,
    /// The reply's data, as long as there is room.
    pub reply: Vec<u8>,
}

impl Payload for Buffers {
    fn room(&self) -> u32 {
        u32::try_from(self.reply.len()).unwrap_or(u32::MAX)
    }

    fn read_from(
        &mut self,
        file: BorrowedFd<'_>,
        offset: u64,
        len: u32,
        wait: bool,
    ) -> Result<u32> {
        let data = self.reply.get_mut(..len as usize).ok_or(Errno::MSGSIZE)?;
        let count = preadv2(file, &mut [IoSliceMut::new(data)], offset, waiting(wait))?;
        Ok(count as u32)
    }

    fn write_to(
        &mut self,
        file: BorrowedFd<'_>,
        offset: u64,
        len: u32,
        sync: bool,
        wait: bool,
    ) -> Result<u32> {
        let data = self.request.get(..len as usize).ok_or(Errno::MSGSIZE)?;
        let mut flags = waiting(wait);
        flags.set(ReadWriteFlags::DSYNC, sync);
        Ok(pwritev2(file, &[IoSlice::new(data)], offset, flags)? as u32)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        let data = self.reply.get_mut(..bytes.len()).ok_or(Errno::MSGSIZE)?;
        data.copy_from_slice(bytes);
        Ok(())
    }

    fn get(&mut self, bytes: &mut [u8]) -> Result<()> {
        let data = self.request.get(..bytes.len()).ok_or(Errno::MSGSIZE)?;
        bytes.copy_from_slice(data);
        Ok(())
    }
}

fn waiting(wait: bool) -> ReadWriteFlags {
    match wait {
        true => ReadWriteFlags::empty(),
        false => ReadWriteFlags::NOWAIT,
    }
}
