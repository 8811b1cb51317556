//! Images in QEMU's format qcow2, by the crate imago.
//!
//! A format is never guessed, and a backing image is opened only where the command line names it:
//! what an image's header says came from who wrote the image, which may have been a guest.

mod counts;

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::BorrowedFd;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use guest_io::block::{Backend, Channel, Facts};
use guest_io::{
    Access, BlockSize, Completion, Deferred, FileRange, Flags, Iovecs, MemoryGuard, Segment,
    SubmitError, Submitted, lock,
};
use imago::format::PreallocateMode;
use imago::io_buffers::IoBuffer;
use imago::qcow2::Qcow2;
use imago::{DenyImplicitOpenGate, FormatAccess, FormatDriverBuilder};
use imago::{file, raw};
use virtio_device::vm_memory::bitmap::BitmapSlice;

/// An open image. Its clones are the same image.
#[derive(Clone, Debug)]
pub struct Qcow2Image {
    image: Arc<Image>,
    backed: bool,
    read_only: bool,
    write_through: bool,
    discard: bool,
}

/// What an image has under the data that it does not have itself.
#[derive(Debug)]
pub enum Backing {
    /// Zeroes, whatever the image says.
    Zeroes,
    /// A raw image.
    Raw(File),
    /// Another qcow2 image, with what is below that.
    Qcow2(File, Option<Box<Backing>>),
}

#[derive(Debug)]
struct Image(RwLock<FormatAccess<file::File>>);

impl Qcow2Image {
    /// Opens the image in `file`, which nobody else may have, above `backing`, which nobody writes.
    ///
    /// # Errors
    /// [`WouldBlock`](ErrorKind::WouldBlock) where it is in use; else where it is no such image,
    /// names a backing image and none is given, or is to be written and cannot be.
    pub fn open(file: File, read_only: bool, backing: Option<Backing>) -> io::Result<Self> {
        let access = match read_only {
            true => Access::Read,
            false => Access::Write,
        };
        lock(&file, access)?;
        let backed = matches!(backing, Some(Backing::Raw(_) | Backing::Qcow2(..)));
        let image = open(&file, !read_only, backing)?;
        Ok(Self {
            image: Arc::new(Image(RwLock::new(FormatAccess::new(image)))),
            backed,
            read_only,
            write_through: false,
            discard: false,
        })
    }

    /// Has each write on stable storage before it completes.
    #[must_use]
    pub fn write_through(mut self, on: bool) -> Self {
        self.write_through = on;
        self
    }

    /// Gives up clusters that the driver discards.
    #[must_use]
    pub fn discard(mut self, on: bool) -> Self {
        self.discard = on;
        self
    }

    /// Gives the disk `size` bytes. What is new of it reads as zeroes.
    ///
    /// # Errors
    /// Where the image cannot have that size, is not written, or the host refuses.
    pub fn resize(&self, size: u64) -> io::Result<()> {
        let mut image = self.image.write();
        let old = image.size();
        // What is under the image must not show through; else only its last cluster has anything.
        let fill = match self.backed {
            true => PreallocateMode::Zero,
            false => PreallocateMode::None,
        };
        image.resize(size, fill)?;
        let rest = old.next_multiple_of(LARGEST_CLUSTER).min(size);
        if rest > old {
            image.write_zeroes(old, rest - old)?;
        }
        image.flush()
    }

    /// Has all that was written in the file, for who else reads that.
    ///
    /// # Errors
    /// Those of the host.
    pub fn settle(&self) -> io::Result<()> {
        self.image.read().flush()
    }

    /// Size of the disk in bytes.
    pub fn size(&self) -> u64 {
        self.image.read().size()
    }
}

impl Backend for Qcow2Image {
    type Channel<G: MemoryGuard + Send + Sync> = Qcow2Channel;

    fn facts(&self) -> io::Result<Facts> {
        Ok(Facts {
            size: self.size(),
            block_size: BlockSize {
                logical: 512,
                physical: 512,
            },
            alignment: 1,
            read_only: self.read_only,
            write_back: !self.write_through,
            // Snapshots and what is under the image keep what they have.
            overwrites: false,
        })
    }

    /// It was claimed when it was opened. Tables in memory are shared with nobody.
    fn claim(&self, shared: bool) -> io::Result<()> {
        match shared && !self.read_only {
            true => Err(io::Error::new(
                ErrorKind::InvalidInput,
                "qcow2 is not shared",
            )),
            false => Ok(()),
        }
    }

    fn channel<G: MemoryGuard + Send + Sync>(&self, _depth: u16) -> io::Result<Qcow2Channel> {
        Ok(Qcow2Channel {
            image: self.image.clone(),
            buffer: IoBuffer::new(PIECE, ALIGNMENT)?,
            discard: self.discard,
        })
    }
}

impl Backing {
    fn open(self) -> io::Result<Option<FormatAccess<file::File>>> {
        Ok(match self {
            Self::Zeroes => None,
            Self::Raw(file) => {
                let storage = file::File::try_from(file)?;
                let image = raw::Raw::builder(storage).open(DenyImplicitOpenGate::default())?;
                Some(FormatAccess::new(image))
            }
            Self::Qcow2(file, below) => {
                let image = open(&file, false, below.map(|below| *below))?;
                Some(FormatAccess::new(image))
            }
        })
    }
}

fn open(file: &File, writable: bool, backing: Option<Backing>) -> io::Result<Qcow2<file::File>> {
    let mut image = Qcow2::open_image(file::File::try_from(file.try_clone()?)?, writable)?;
    if image.requires_external_data_file() {
        return Err(io::Error::other("its data are in another file"));
    }
    image.set_data_file(None);
    if writable {
        counts::check(file)?;
    }
    let below = match (image.implicit_backing_file(), backing) {
        (Some(name), None) => return Err(unnamed(name)),
        (None, None) => None,
        (_, Some(backing)) => backing.open()?,
    };
    image.set_backing(below);
    Ok(image)
}

fn unnamed(name: &str) -> io::Error {
    io::Error::other(format!(
        "it has the backing image '{name}', which is opened only where backing= or backing.file.filename= names it"
    ))
}

impl Image {
    fn read(&self) -> RwLockReadGuard<'_, FormatAccess<file::File>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, FormatAccess<file::File>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes durable what was written.
    fn sync(&self) -> io::Result<()> {
        let image = self.read();
        image.flush()?;
        image.sync()
    }
}

/// A worker's way to a [`Qcow2Image`]: everything is done at once.
pub struct Qcow2Channel {
    image: Arc<Image>,
    /// Between guest memory, which the guest may change at any time, and imago's slices.
    buffer: IoBuffer,
    discard: bool,
}

impl Qcow2Channel {
    fn read_all<B: BitmapSlice>(
        &mut self,
        mut offset: u64,
        iovecs: &mut Iovecs<'_, B>,
    ) -> io::Result<usize> {
        let (total, image) = (iovecs.remaining(), self.image.read());
        while !iovecs.is_empty() {
            let len = iovecs.remaining().min(PIECE);
            image.read(self.buffer.as_mut_range(0..len), offset)?;
            iovecs.copy_in(self.buffer.as_ref_range(0..len).into_slice());
            offset += len as u64;
        }
        Ok(total)
    }

    fn write_all<B: BitmapSlice>(
        &mut self,
        mut offset: u64,
        flags: Flags,
        iovecs: &mut Iovecs<'_, B>,
    ) -> io::Result<usize> {
        let (total, image) = (iovecs.remaining(), self.image.read());
        while !iovecs.is_empty() {
            let len = iovecs.remaining().min(PIECE);
            iovecs.copy_out(self.buffer.as_mut_range(0..len).into_slice());
            image.write(self.buffer.as_ref_range(0..len), offset)?;
            offset += len as u64;
        }
        drop(image);
        if flags.contains(Flags::DSYNC) {
            self.image.sync()?;
        }
        Ok(total)
    }
}

impl Qcow2Channel {
    fn write_blank(&mut self, range: FileRange) -> io::Result<()> {
        let (mut offset, end) = (range.offset(), range.offset() + range.len());
        let image = self.image.read();
        while offset < end {
            let len = (end - offset).min(PIECE as u64);
            self.buffer
                .as_mut_range(0..len as usize)
                .into_slice()
                .fill(0);
            image.write(self.buffer.as_ref_range(0..len as usize), offset)?;
            offset += len;
        }
        Ok(())
    }
}

impl<G: MemoryGuard> Channel<G> for Qcow2Channel {
    fn read<B: BitmapSlice, S: IntoIterator<Item = Segment>>(
        &mut self,
        offset: u64,
        iovecs: &mut Iovecs<'_, B>,
        _deferred: Deferred<'_, G, S>,
    ) -> Result<Submitted, SubmitError> {
        Ok(Submitted::Done(self.read_all(offset, iovecs)))
    }

    fn write<B: BitmapSlice, S: IntoIterator<Item = Segment>>(
        &mut self,
        offset: u64,
        flags: Flags,
        iovecs: &mut Iovecs<'_, B>,
        _deferred: Deferred<'_, G, S>,
    ) -> Result<Submitted, SubmitError> {
        Ok(Submitted::Done(self.write_all(offset, flags, iovecs)))
    }

    fn sync_data(&mut self, _token: u64) -> Result<Submitted, SubmitError> {
        Ok(done(self.image.sync()))
    }

    fn discard(&mut self, _token: u64, range: FileRange) -> Result<Submitted, SubmitError> {
        Ok(done(match self.discard {
            true => self
                .image
                .write()
                .discard_to_zero(range.offset(), range.len()),
            false => Ok(()),
        }))
    }

    fn write_zeroes(
        &mut self,
        _token: u64,
        range: FileRange,
        _may_unmap: bool,
    ) -> Result<Submitted, SubmitError> {
        let image = self.image.read();
        Ok(done(image.write_zeroes(range.offset(), range.len())))
    }

    fn overwrite(&mut self, _token: u64, range: FileRange) -> Result<Submitted, SubmitError> {
        Ok(done(self.write_blank(range)))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn poll(&mut self) -> Option<Completion> {
        None
    }

    fn completion_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

fn done(result: io::Result<()>) -> Submitted {
    Submitted::Done(result.map(|()| 0))
}

/// Bytes of it.
const LARGEST_CLUSTER: u64 = 2 << 20;
/// What is copied at a time.
const PIECE: usize = 256 << 10;
/// Enough for direct I/O.
const ALIGNMENT: usize = 4096;

#[cfg(test)]
#[path = "qcow2_tests.rs"]
mod tests;
