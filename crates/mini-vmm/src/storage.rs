//! The back-ends of disks, of which one device has several kinds.

use std::io;
use std::os::fd::BorrowedFd;

use guest_io::block::{
    Backend, Channel, Facts, NullChannel, NullDisk, RawChannel, RawImage, Throttled,
};
use guest_io::{
    Completion, Deferred, FileRange, Flags, Iovecs, MemoryGuard, Segment, SubmitError, Submitted,
};
use virtio_device::vm_memory::bitmap::BitmapSlice;

use crate::drive::{Drive, Format};
use crate::options::Cache;
use crate::qcow2::{Qcow2Channel, Qcow2Image};

/// What a device has of its drive: the image, with the limits that it keeps to.
pub type Storage = Throttled<Image>;

/// The storage of `drive`, set up as its options say; `read_only` whatever they say.
///
/// # Errors
/// A host without descriptors to give.
pub fn storage(drive: &Drive, read_only: bool) -> io::Result<Storage> {
    let image = Image::new(drive, read_only)?;
    Ok(Throttled::new(image, drive.member().clone()))
}

/// The same for a SCSI disk or CD-ROM drive.
///
/// # Errors
/// A drive that these cannot be on, and as [`storage`].
pub fn unit_storage(drive: &Drive, read_only: bool) -> io::Result<Storage> {
    if drive.is_zoned() {
        return Err(io::Error::other("zoned drives are for virtio-blk"));
    }
    storage(drive, read_only)
}

/// What a drive is, for a device that takes any.
#[derive(Debug)]
pub enum Image {
    /// A raw image.
    Raw(RawImage),
    /// An image in QEMU's format.
    Qcow2(Qcow2Image),
    /// Zeroes.
    Null(NullDisk),
}

/// A worker's way to an [`Image`].
pub enum ImageChannel<G: MemoryGuard> {
    /// To a raw image.
    Raw(Box<RawChannel<G>>),
    /// To an image in QEMU's format.
    Qcow2(Box<Qcow2Channel>),
    /// To zeroes.
    Null(Box<NullChannel>),
}

impl Image {
    fn new(drive: &Drive, read_only: bool) -> io::Result<Self> {
        let options = &drive.options;
        Ok(match drive.format() {
            Format::Null(size) => Self::Null(NullDisk::on(drive.file()?, *size)),
            Format::Qcow2(image) => Self::Qcow2(image.clone()),
            Format::Raw => Self::Raw(
                RawImage::new(drive.file()?)?
                    .read_only(read_only || options.read_only)
                    .write_through(options.cache == Cache::WriteThrough)
                    .discard(options.discard),
            ),
        })
    }
}

/// Does the same whatever the image, or the way to it, is.
macro_rules! whatever {
    ($this:ident, $inner:ident => $does:expr) => {
        match $this {
            Self::Raw($inner) => $does,
            Self::Qcow2($inner) => $does,
            Self::Null($inner) => $does,
        }
    };
}

impl Backend for Image {
    type Channel<G: MemoryGuard + Send + Sync> = ImageChannel<G>;

    fn facts(&self) -> io::Result<Facts> {
        whatever!(self, image => image.facts())
    }

    fn claim(&self, shared: bool) -> io::Result<()> {
        whatever!(self, image => image.claim(shared))
    }

    fn channel<G: MemoryGuard + Send + Sync>(&self, depth: u16) -> io::Result<Self::Channel<G>> {
        Ok(match self {
            Self::Raw(image) => ImageChannel::Raw(Box::new(image.channel(depth)?)),
            Self::Qcow2(image) => ImageChannel::Qcow2(Box::new(image.channel::<G>(depth)?)),
            Self::Null(disk) => ImageChannel::Null(Box::new(disk.channel::<G>(depth)?)),
        })
    }
}

impl<G: MemoryGuard + Send> Channel<G> for ImageChannel<G> {
    fn read<B: BitmapSlice, S: IntoIterator<Item = Segment>>(
        &mut self,
        offset: u64,
        iovecs: &mut Iovecs<'_, B>,
        deferred: Deferred<'_, G, S>,
    ) -> Result<Submitted, SubmitError> {
        whatever!(self, channel => channel.read(offset, iovecs, deferred))
    }

    fn write<B: BitmapSlice, S: IntoIterator<Item = Segment>>(
        &mut self,
        offset: u64,
        flags: Flags,
        iovecs: &mut Iovecs<'_, B>,
        deferred: Deferred<'_, G, S>,
    ) -> Result<Submitted, SubmitError> {
        whatever!(self, channel => channel.write(offset, flags, iovecs, deferred))
    }

    fn sync_data(&mut self, token: u64) -> Result<Submitted, SubmitError> {
        whatever!(self, channel => Channel::<G>::sync_data(&mut **channel, token))
    }

    fn discard(&mut self, token: u64, range: FileRange) -> Result<Submitted, SubmitError> {
        whatever!(self, channel => Channel::<G>::discard(&mut **channel, token, range))
    }

    fn write_zeroes(
        &mut self,
        token: u64,
        range: FileRange,
        may_unmap: bool,
    ) -> Result<Submitted, SubmitError> {
        whatever!(self, channel => {
            Channel::<G>::write_zeroes(&mut **channel, token, range, may_unmap)
        })
    }

    fn overwrite(&mut self, token: u64, range: FileRange) -> Result<Submitted, SubmitError> {
        whatever!(self, channel => Channel::<G>::overwrite(&mut **channel, token, range))
    }

    fn flush(&mut self) -> io::Result<()> {
        whatever!(self, channel => Channel::<G>::flush(&mut **channel))
    }

    fn poll(&mut self) -> Option<Completion> {
        whatever!(self, channel => Channel::<G>::poll(&mut **channel))
    }

    fn completion_fd(&self) -> Option<BorrowedFd<'_>> {
        whatever!(self, channel => Channel::<G>::completion_fd(&**channel))
    }
}
