//! The back-ends of SCSI disks, of which one device has several kinds.

use std::io;
use std::os::fd::BorrowedFd;

use guest_io::block::{
    Backend, Channel, Facts, NullChannel, NullDisk, Rates, RawChannel, RawImage,
};
use guest_io::{
    Completion, Deferred, FileRange, Flags, Iovecs, MemoryGuard, Segment, SubmitError, Submitted,
};
use virtio_device::vm_memory::bitmap::BitmapSlice;

use crate::drive::Drive;
use crate::options::{Cache, DriveSource};

/// What a drive is, for a device that takes any.
#[derive(Debug)]
pub enum Storage {
    /// A raw image.
    Raw(RawImage),
    /// Zeroes.
    Null(NullDisk),
}

/// A worker's way to a [`Storage`].
#[derive(Debug)]
pub enum StorageChannel<G: MemoryGuard> {
    /// To a raw image.
    Raw(Box<RawChannel<G>>),
    /// To zeroes.
    Null(NullChannel),
}

impl Storage {
    /// The storage of `drive`, set up as its options say; `read_only` whatever they say.
    ///
    /// # Errors
    /// A drive that SCSI disks cannot be on yet, or a host without descriptors to give.
    pub fn new(drive: &Drive, read_only: bool) -> io::Result<Self> {
        let options = &drive.options;
        if options.rates != Rates::default() {
            return Err(io::Error::other("throttled drives are for virtio-blk"));
        }
        if options.zoning.is_some() {
            return Err(io::Error::other("zoned drives are for virtio-blk"));
        }
        let file = drive.file()?;
        Ok(match options.source {
            DriveSource::Null(size) => Self::Null(NullDisk::on(file, size)),
            DriveSource::Qcow2(..) => {
                return Err(io::Error::other("qcow2 images are for virtio-blk"));
            }
            DriveSource::File(_) => Self::Raw(
                RawImage::new(file)?
                    .read_only(read_only || options.read_only)
                    .write_through(options.cache == Cache::WriteThrough)
                    .discard(options.discard),
            ),
        })
    }
}

impl Backend for Storage {
    type Channel<G: MemoryGuard + Send + Sync> = StorageChannel<G>;

    fn facts(&self) -> io::Result<Facts> {
        match self {
            Self::Raw(image) => image.facts(),
            Self::Null(disk) => disk.facts(),
        }
    }

    fn claim(&self, shared: bool) -> io::Result<()> {
        match self {
            Self::Raw(image) => image.claim(shared),
            Self::Null(disk) => disk.claim(shared),
        }
    }

    fn channel<G: MemoryGuard + Send + Sync>(&self, depth: u16) -> io::Result<Self::Channel<G>> {
        Ok(match self {
            Self::Raw(image) => StorageChannel::Raw(Box::new(image.channel(depth)?)),
            Self::Null(disk) => StorageChannel::Null(disk.channel::<G>(depth)?),
        })
    }
}

impl<G: MemoryGuard + Send> Channel<G> for StorageChannel<G> {
    fn read<B: BitmapSlice, S: IntoIterator<Item = Segment>>(
        &mut self,
        offset: u64,
        iovecs: &mut Iovecs<'_, B>,
        deferred: Deferred<'_, G, S>,
    ) -> Result<Submitted, SubmitError> {
        match self {
            Self::Raw(channel) => channel.read(offset, iovecs, deferred),
            Self::Null(channel) => channel.read(offset, iovecs, deferred),
        }
    }

    fn write<B: BitmapSlice, S: IntoIterator<Item = Segment>>(
        &mut self,
        offset: u64,
        flags: Flags,
        iovecs: &mut Iovecs<'_, B>,
        deferred: Deferred<'_, G, S>,
    ) -> Result<Submitted, SubmitError> {
        match self {
            Self::Raw(channel) => channel.write(offset, flags, iovecs, deferred),
            Self::Null(channel) => channel.write(offset, flags, iovecs, deferred),
        }
    }

    fn sync_data(&mut self, token: u64) -> Result<Submitted, SubmitError> {
        match self {
            Self::Raw(channel) => channel.sync_data(token),
            Self::Null(channel) => Channel::<G>::sync_data(channel, token),
        }
    }

    fn discard(&mut self, token: u64, range: FileRange) -> Result<Submitted, SubmitError> {
        match self {
            Self::Raw(channel) => channel.discard(token, range),
            Self::Null(channel) => Channel::<G>::discard(channel, token, range),
        }
    }

    fn write_zeroes(
        &mut self,
        token: u64,
        range: FileRange,
        may_unmap: bool,
    ) -> Result<Submitted, SubmitError> {
        match self {
            Self::Raw(channel) => channel.write_zeroes(token, range, may_unmap),
            Self::Null(channel) => Channel::<G>::write_zeroes(channel, token, range, may_unmap),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Raw(channel) => channel.flush(),
            Self::Null(channel) => Channel::<G>::flush(channel),
        }
    }

    fn poll(&mut self) -> Option<Completion> {
        match self {
            Self::Raw(channel) => channel.poll(),
            Self::Null(channel) => Channel::<G>::poll(channel),
        }
    }

    fn completion_fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Raw(channel) => channel.completion_fd(),
            Self::Null(channel) => Channel::<G>::completion_fd(channel),
        }
    }
}
