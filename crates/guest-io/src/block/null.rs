//! A disk of zeroes that forgets what is written to it.

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use vm_memory::bitmap::BitmapSlice;

use super::{Backend, Channel, Facts};
use crate::{
    BlockSize, Completion, Deferred, FileRange, Flags, Iovecs, MemoryGuard, Segment, SubmitError,
    Submitted, read_exact_at,
};

/// A disk that reads as zeroes and forgets what is written, without storage: what a device costs
/// by itself. QEMU's `null-co` with `read-zeroes=on`.
#[derive(Debug)]
pub struct NullDisk {
    size: u64,
    zeroes: Arc<File>,
}

impl NullDisk {
    /// A disk of `size` bytes.
    ///
    /// # Errors
    /// Where `/dev/zero` cannot be opened.
    pub fn new(size: u64) -> io::Result<Self> {
        Ok(Self {
            size,
            zeroes: Arc::new(File::open("/dev/zero")?),
        })
    }

    /// A disk of `size` bytes for a process that opens no files: `zeroes` is an open `/dev/zero`.
    pub fn on(zeroes: File, size: u64) -> Self {
        let zeroes = Arc::new(zeroes);
        Self { size, zeroes }
    }
}

impl Backend for NullDisk {
    type Channel<G: MemoryGuard + Send + Sync> = NullChannel;

    fn facts(&self) -> io::Result<Facts> {
        Ok(Facts {
            size: self.size,
            block_size: BlockSize {
                logical: 512,
                physical: 512,
            },
            alignment: 1,
            read_only: false,
            write_back: true,
            overwrites: true,
        })
    }

    fn claim(&self, _shared: bool) -> io::Result<()> {
        Ok(())
    }

    fn channel<G: MemoryGuard + Send + Sync>(&self, _depth: u16) -> io::Result<NullChannel> {
        Ok(NullChannel {
            zeroes: self.zeroes.clone(),
        })
    }
}

/// A worker's way to a [`NullDisk`].
#[derive(Debug)]
pub struct NullChannel {
    zeroes: Arc<File>,
}

impl<G: MemoryGuard> Channel<G> for NullChannel {
    fn read<B: BitmapSlice, S: IntoIterator<Item = Segment>>(
        &mut self,
        _offset: u64,
        iovecs: &mut Iovecs<'_, B>,
        _deferred: Deferred<'_, G, S>,
    ) -> Result<Submitted, SubmitError> {
        let len = iovecs.remaining();
        let result = read_exact_at(&*self.zeroes, iovecs, 0, Flags::NONE);
        Ok(Submitted::Done(result.map(|()| len)))
    }

    fn write<B: BitmapSlice, S: IntoIterator<Item = Segment>>(
        &mut self,
        _offset: u64,
        _flags: Flags,
        iovecs: &mut Iovecs<'_, B>,
        _deferred: Deferred<'_, G, S>,
    ) -> Result<Submitted, SubmitError> {
        Ok(Submitted::Done(Ok(iovecs.remaining())))
    }

    fn sync_data(&mut self, _token: u64) -> Result<Submitted, SubmitError> {
        Ok(Submitted::Done(Ok(0)))
    }

    fn discard(&mut self, _token: u64, _range: FileRange) -> Result<Submitted, SubmitError> {
        Ok(Submitted::Done(Ok(0)))
    }

    fn write_zeroes(
        &mut self,
        _token: u64,
        _range: FileRange,
        _may_unmap: bool,
    ) -> Result<Submitted, SubmitError> {
        Ok(Submitted::Done(Ok(0)))
    }

    fn overwrite(&mut self, _token: u64, _range: FileRange) -> Result<Submitted, SubmitError> {
        Ok(Submitted::Done(Ok(0)))
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
