//! A file that holds a disk: its facts, and what is done to it besides reading and writing.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, FallocateFlags, FileType, OFlags, StatxFlags, statx};
use rustix::ioctl::{Getter, Opcode, Setter, ioctl, opcode};

use crate::vectored::file_offset;
use crate::zeroes;

/// A regular file or block device.
#[derive(Debug)]
pub struct Disk {
    file: File,
    block_device: bool,
    direct: bool,
    in_memory: bool,
    alignment: Alignment,
}

/// What transfers are multiples of, in bytes; 1 where the page cache is in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alignment {
    /// Addresses and lengths of pieces of memory. What is not is copied to where it is.
    pub memory: u32,
    /// Offsets in the file, and lengths.
    pub transfer: u32,
}

/// Block sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockSize {
    /// The smallest unit of a transfer.
    pub logical: u32,
    /// The smallest unit that the device writes without reading first.
    pub physical: u32,
}

/// A range of bytes of a file. It does not exceed the largest offset, `i64::MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileRange {
    offset: u64,
    len: u64,
}

impl FileRange {
    /// The range of `len` bytes from byte `offset` on.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if it ends beyond `i64::MAX`.
    pub fn new(offset: u64, len: u64) -> io::Result<Self> {
        let end = offset.checked_add(len).ok_or(ErrorKind::InvalidInput)?;
        file_offset(end)?;
        Ok(Self { offset, len })
    }

    /// The first byte.
    pub fn offset(self) -> u64 {
        self.offset
    }

    /// The number of bytes.
    pub fn len(self) -> u64 {
        self.len
    }

    /// Whether there is no byte in it.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// What is left of it after its first `count` bytes.
    pub(crate) fn skip(self, count: u64) -> Self {
        let count = count.min(self.len);
        Self {
            offset: self.offset + count,
            len: self.len - count,
        }
    }
}

impl Disk {
    /// Takes an open file for a disk.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] if it is neither a regular file nor a block device, else those
    /// of `fstat(2)`, `fstatfs(2)` and `fcntl(2)`.
    pub fn new(file: File) -> io::Result<Self> {
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
        let block_device = match kind {
            FileType::RegularFile => false,
            FileType::BlockDevice => true,
            _ => return Err(io::Error::new(ErrorKind::InvalidInput, NO_DISK)),
        };
        let direct = rustix::fs::fcntl_getfl(&file)?.contains(OFlags::DIRECT);
        let in_memory = !block_device && MEMORY_FILE_SYSTEMS.contains(&file_system(&file)?);
        let alignment = match direct {
            true => direct_alignment(&file, block_device)?,
            false => Alignment::NONE,
        };
        Ok(Self {
            file,
            block_device,
            direct,
            in_memory,
            alignment,
        })
    }

    /// What transfers have to be aligned to.
    #[inline]
    pub fn alignment(&self) -> Alignment {
        self.alignment
    }

    /// Whether it is a block device.
    pub fn is_block_device(&self) -> bool {
        self.block_device
    }

    /// Whether it was opened with `O_DIRECT`, past the page cache.
    #[inline]
    pub fn is_direct(&self) -> bool {
        self.direct
    }

    /// Whether it is a file in memory, such as one on tmpfs or a `memfd`, which never waits for a
    /// device (but perhaps for swap).
    #[inline]
    pub fn is_in_memory(&self) -> bool {
        self.in_memory
    }

    /// The size in bytes, now.
    ///
    /// # Errors
    ///
    /// Those of `fstat(2)`, or of `BLKGETSIZE64` on a block device.
    pub fn size(&self) -> io::Result<u64> {
        if !self.block_device {
            return Ok(self.file.metadata()?.len());
        }
        // SAFETY: `BLKGETSIZE64` stores a `u64`, although its number was made with a `size_t`.
        let size = unsafe { ioctl(&self.file, Getter::<BLKGETSIZE64, u64>::new()) };
        Ok(size?)
    }

    /// The block sizes: of a block device those it reports, of a file those of its bytes, 512, or of
    /// direct I/O where that takes larger ones.
    ///
    /// # Errors
    ///
    /// Those of `BLKSSZGET` and `BLKPBSZGET`.
    pub fn block_size(&self) -> io::Result<BlockSize> {
        if !self.block_device {
            let size = self.alignment.transfer.max(512);
            return Ok(BlockSize {
                logical: size,
                physical: size,
            });
        }
        Ok(BlockSize {
            logical: rustix::fs::ioctl_blksszget(&self.file)?,
            physical: rustix::fs::ioctl_blkpbszget(&self.file)?,
        })
    }

    /// Bytes of a zone, where it is a zoned block device.
    ///
    /// # Errors
    ///
    /// Those of `BLKGETZONESZ`, but for that of kernels that know no zones.
    pub fn zone_size(&self) -> io::Result<Option<u64>> {
        if !self.block_device {
            return Ok(None);
        }
        // SAFETY: `BLKGETZONESZ` stores a `u32`, a number of sectors.
        let sectors = unsafe { ioctl(&self.file, Getter::<BLKGETZONESZ, u32>::new()) };
        match sectors.map_err(io::Error::from) {
            Ok(sectors) => Ok((sectors != 0).then_some(u64::from(sectors) * 512)),
            Err(error) if is_unsupported(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes all data written before durable: `fdatasync(2)`.
    ///
    /// # Errors
    ///
    /// Those of `fdatasync(2)`. After one, what was written since the last success may be lost
    /// even if a later call succeeds.
    pub fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Advises the host that the contents of `range` are no longer needed.
    ///
    /// What they read as afterwards is not defined. A host that cannot discard ignores it.
    ///
    /// # Errors
    ///
    /// Those of `fallocate(2)`, or of `BLKDISCARD` on a block device.
    pub fn discard(&self, range: FileRange) -> io::Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        let result = match self.block_device {
            true => self.discard_blocks(range),
            false => self.fallocate(PUNCH_HOLE, range),
        };
        result.or_else(ignore_unsupported)
    }

    /// Makes `range` read as zeroes; if `may_unmap`, its storage may be given back.
    ///
    /// Where the host has no short way, zeroes are written, which takes as long as writing does:
    /// the caller bounds the length.
    ///
    /// # Errors
    ///
    /// Those of `fallocate(2)` and `pwrite(2)`.
    pub fn write_zeroes(&self, range: FileRange, may_unmap: bool) -> io::Result<()> {
        zeroes::write(self, range, may_unmap)
    }

    /// Writes zeroes over `range`, so that nothing of what was stored there is left where the host
    /// keeps what is written in its place. It takes as long as writing does: the caller bounds the
    /// length.
    ///
    /// # Errors
    ///
    /// Those of `pwrite(2)`.
    pub fn overwrite(&self, range: FileRange) -> io::Result<()> {
        zeroes::overwrite(self, range)
    }

    pub(crate) fn fallocate(&self, mode: FallocateFlags, range: FileRange) -> io::Result<()> {
        Ok(rustix::fs::fallocate(
            &self.file,
            mode,
            range.offset,
            range.len,
        )?)
    }

    /// The error of a write, in the words for what has happened: Linux says of a block device that was
    /// taken away that there is no space left on it.
    #[cold]
    pub(crate) fn explain(&self, error: io::Error) -> io::Error {
        let full = error.kind() == ErrorKind::StorageFull;
        match full && self.block_device && self.size().is_ok_and(|size| size == 0) {
            true => io::Error::from_raw_os_error(libc::ENODEV),
            false => error,
        }
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    fn discard_blocks(&self, range: FileRange) -> io::Result<()> {
        // SAFETY: `BLKDISCARD` reads two `u64`, offset and length, through its argument.
        let discard = unsafe { Setter::<BLKDISCARD, [u64; 2]>::new([range.offset, range.len]) };
        // SAFETY: The descriptor is that of a block device, whose bytes no Rust memory maps.
        Ok(unsafe { ioctl(&self.file, discard) }?)
    }
}

impl AsFd for Disk {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Alignment {
    /// Anything goes.
    pub const NONE: Self = Self {
        memory: 1,
        transfer: 1,
    };
}

/// What direct I/O asks for, as kernels from 6.1 on tell; else what it never asked for more than.
fn direct_alignment(file: &File, block_device: bool) -> io::Result<Alignment> {
    let told = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN);
    let told = told.ok().filter(|told| told.stx_dio_offset_align > 0);
    if let Some(told) = told {
        return Ok(Alignment {
            memory: told.stx_dio_mem_align.max(1),
            transfer: told.stx_dio_offset_align,
        });
    }
    let block = match block_device {
        true => rustix::fs::ioctl_blksszget(file)?,
        false => 512,
    };
    Ok(Alignment {
        memory: block,
        transfer: block,
    })
}

/// The magic number of the file system that a file is on.
fn file_system(file: &File) -> io::Result<u64> {
    // The width and sign of the number differ between architectures.
    Ok(u64::from(rustix::fs::fstatfs(file)?.f_type as u32))
}

/// Success if the host has no such operation.
fn ignore_unsupported(error: io::Error) -> io::Result<()> {
    if is_unsupported(&error) {
        Ok(())
    } else {
        Err(error)
    }
}

/// Whether the host has no such operation.
pub(crate) fn is_unsupported(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::ENOTTY)
    )
}

/// Gives the storage of a range back; it reads as zeroes then.
pub(crate) const PUNCH_HOLE: FallocateFlags =
    FallocateFlags::PUNCH_HOLE.union(FallocateFlags::KEEP_SIZE);

const BLKGETSIZE64: Opcode = opcode::read::<usize>(0x12, 114);
const BLKGETZONESZ: Opcode = opcode::read::<u32>(0x12, 132);
const BLKDISCARD: Opcode = opcode::none(0x12, 119);
const NO_DISK: &str = "neither a regular file nor a block device";

/// `TMPFS_MAGIC` and `RAMFS_MAGIC`.
const MEMORY_FILE_SYSTEMS: [u64; 2] = [0x0102_1994, 0x8584_58f6];
