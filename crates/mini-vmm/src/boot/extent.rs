//! Part of an open file.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use vm_memory::{Bytes, GuestAddress};

use crate::layout::Range;
use crate::memory::Memory;

/// A range of an open file. Offsets count from its start.
#[derive(Debug)]
pub(super) struct Extent {
    file: File,
    range: Range,
}

impl Extent {
    /// `range` of `file`, whose position is nobody else's.
    pub(super) fn new(file: File, range: Range) -> Self {
        Self { file, range }
    }

    /// All of `file`.
    ///
    /// # Errors
    /// Those of a file whose size cannot be told.
    pub(super) fn whole(mut file: File) -> io::Result<Self> {
        let size = file.seek(SeekFrom::End(0))?;
        Ok(Self::new(file, Range { base: 0, size }))
    }

    /// The file.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Its length in bytes.
    pub(super) fn size(&self) -> u64 {
        self.range.size
    }

    /// Fills `buffer` from `offset` on.
    ///
    /// # Errors
    /// Those of the file, and an end before the buffer is full.
    pub(super) fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = self.within(offset, buffer.len() as u64)?;
        self.file.read_exact_at(buffer, start)
    }

    /// What is in `size` bytes from `offset` on, to be read once.
    ///
    /// # Errors
    /// Those of the file, and a part that is not all in the extent.
    pub(super) fn reader(&self, offset: u64, size: u64) -> io::Result<impl Read + use<'_>> {
        let start = self.within(offset, size)?;
        (&self.file).seek(SeekFrom::Start(start))?;
        Ok(BufReader::with_capacity(BUFFER, (&self.file).take(size)))
    }

    /// Reads `size` bytes from `offset` on, straight into guest memory.
    ///
    /// # Errors
    /// Those of the file, and of memory that ends too early.
    pub(super) fn load(
        &self,
        (offset, size): (u64, u64),
        memory: &Memory,
        address: u64,
    ) -> io::Result<()> {
        let start = self.within(offset, size)?;
        let size = usize::try_from(size).map_err(io::Error::other)?;
        (&self.file).seek(SeekFrom::Start(start))?;
        memory
            .read_exact_volatile_from(GuestAddress(address), &mut &self.file, size)
            .map_err(io::Error::other)
    }

    /// Where `size` bytes from `offset` on begin in the file, which may have become shorter meanwhile.
    fn within(&self, offset: u64, size: u64) -> io::Result<u64> {
        let end = offset.checked_add(size);
        match end.filter(|end| *end <= self.range.size) {
            Some(_) => Ok(self.range.base + offset),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

const BUFFER: usize = 64 << 10;
