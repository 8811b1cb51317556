//! A raw image: a file or block device whose bytes are the disk's.

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Once};

use vm_memory::bitmap::BitmapSlice;

use super::{Backend, Channel, Facts};
use crate::{
    Access, Completion, Deferred, Disk, Engine, FileRange, Flags, Iovecs, MemoryGuard, Mode,
    Segment, SubmitError, Submitted, lock,
};

/// A raw file or block device of the host. Its format is never guessed.
///
/// Page-cached data is transferred at once and the rest through io_uring; where the host refuses
/// that, everything is done at once. So it is with zoned block devices, whose writes may not overtake
/// one another.
#[derive(Debug)]
pub struct RawImage {
    disk: Arc<Disk>,
    zoned: bool,
    read_only: bool,
    write_through: bool,
    discard: bool,
    mode: Mode,
    refused: Once,
}

impl RawImage {
    /// The image in `file`, open for reading and writing: with a write-back cache, and without
    /// handing discards on to the host, as QEMU's `-drive` has it.
    ///
    /// # Errors
    /// Where it is neither a regular file nor a block device.
    pub fn new(file: File) -> io::Result<Self> {
        let disk = Disk::new(file)?;
        Ok(Self {
            zoned: disk.zone_size()?.is_some(),
            disk: Arc::new(disk),
            read_only: false,
            write_through: false,
            discard: false,
            mode: Mode::Auto,
            refused: Once::new(),
        })
    }

    /// Refuses writes. The file need not be open for writing then.
    #[must_use]
    pub fn read_only(mut self, on: bool) -> Self {
        self.read_only = on;
        self
    }

    /// Has each write on stable storage before it completes (QEMU's `cache=writethrough`), unless
    /// the properties or the driver say otherwise.
    #[must_use]
    pub fn write_through(mut self, on: bool) -> Self {
        self.write_through = on;
        self
    }

    /// Gives storage that the driver discards back to the host (QEMU's `discard=unmap`).
    #[must_use]
    pub fn discard(mut self, on: bool) -> Self {
        self.discard = on;
        self
    }

    /// How transfers are done; [`Mode::Auto`] unless set.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }
}

impl Backend for RawImage {
    type Channel<G: MemoryGuard + Send + Sync> = RawChannel<G>;

    fn facts(&self) -> io::Result<Facts> {
        Ok(Facts {
            size: self.disk.size()?,
            block_size: self.disk.block_size()?,
            alignment: self.disk.alignment().transfer,
            read_only: self.read_only,
            write_back: !self.write_through,
            overwrites: true,
        })
    }

    fn claim(&self, shared: bool) -> io::Result<()> {
        let access = match self.read_only || shared {
            true => Access::Read,
            false => Access::Write,
        };
        lock(&*self.disk, access)
    }

    fn channel<G: MemoryGuard + Send + Sync>(&self, depth: u16) -> io::Result<RawChannel<G>> {
        let mode = if self.zoned { Mode::Sync } else { self.mode };
        let engine = Engine::new(self.disk.clone(), mode, depth)?;
        if let Some(reason) = engine.refusal() {
            // Once: the guest decides how often a channel is opened.
            self.refused
                .call_once(|| log::info!("no io_uring ({reason}): disk I/O waits in its worker"));
        }
        Ok(RawChannel {
            engine,
            discard: self.discard,
        })
    }
}

/// A worker's way to a [`RawImage`].
#[derive(Debug)]
pub struct RawChannel<G: MemoryGuard> {
    engine: Engine<G>,
    discard: bool,
}

impl<G: MemoryGuard + Send> Channel<G> for RawChannel<G> {
    #[inline(always)]
    fn read<B: BitmapSlice, S: IntoIterator<Item = Segment>>(
        &mut self,
        offset: u64,
        iovecs: &mut Iovecs<'_, B>,
        deferred: Deferred<'_, G, S>,
    ) -> Result<Submitted, SubmitError> {
        self.engine.read(offset, iovecs, deferred)
    }

    #[inline(always)]
    fn write<B: BitmapSlice, S: IntoIterator<Item = Segment>>(
        &mut self,
        offset: u64,
        flags: Flags,
        iovecs: &mut Iovecs<'_, B>,
        deferred: Deferred<'_, G, S>,
    ) -> Result<Submitted, SubmitError> {
        self.engine.write(offset, flags, iovecs, deferred)
    }

    fn sync_data(&mut self, token: u64) -> Result<Submitted, SubmitError> {
        self.engine.sync_data(token)
    }

    fn discard(&mut self, token: u64, range: FileRange) -> Result<Submitted, SubmitError> {
        match self.discard {
            true => self.engine.discard(token, range),
            false => Ok(Submitted::Done(Ok(0))),
        }
    }

    fn write_zeroes(
        &mut self,
        token: u64,
        range: FileRange,
        may_unmap: bool,
    ) -> Result<Submitted, SubmitError> {
        self.engine
            .write_zeroes(token, range, may_unmap && self.discard)
    }

    fn overwrite(&mut self, token: u64, range: FileRange) -> Result<Submitted, SubmitError> {
        self.engine.overwrite(token, range)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.engine.flush()
    }

    fn poll(&mut self) -> Option<Completion> {
        self.engine.poll()
    }

    fn completion_fd(&self) -> Option<BorrowedFd<'_>> {
        self.engine.completion_fd()
    }
}
