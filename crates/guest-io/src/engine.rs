//! The choice between doing a request at once and leaving it to the ring.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use vm_memory::bitmap::BitmapSlice;

use crate::bounce::Bounce;
use crate::disk::is_unsupported;
use crate::slot::Operation;
use crate::{
    Completion, Disk, FileRange, Flags, Iovecs, MemoryGuard, Segment, SubmitError, Uring, read_at,
    write_at,
};

/// How an [`Engine`] does its requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// At once what the page cache can do, through io_uring what would wait for a device; all at
    /// once where io_uring is refused.
    #[default]
    Auto,
    /// Everything through io_uring, and no engine where that is refused.
    Uring,
    /// Everything at once.
    Sync,
}

/// What has become of a request.
#[derive(Debug)]
pub enum Submitted {
    /// It is done: bytes transferred, as in [`Completion::result`].
    Done(io::Result<usize>),
    /// It is in the ring, and ends with a [`Completion`]. It starts at the latest at the next
    /// [`Engine::flush`].
    InFlight,
}

/// What the ring needs for a transfer, should it be left to the ring.
#[derive(Clone, Copy, Debug)]
pub struct Deferred<'a, G, S> {
    /// What the completion will be known by.
    pub token: u64,
    /// Keeps the guest memory mapped; cloned only if the request goes to the ring.
    pub memory: &'a G,
    /// The same memory, byte for byte, that the [`Iovecs`] consist of; looked at only if the
    /// request goes to the ring.
    pub segments: S,
}

/// Does the requests of one queue of a disk, each in the way that is fastest for it.
///
/// A read of a cached page costs less than a trip through the ring, so it is tried first with
/// [`Flags::NOWAIT`]. What is not in the page cache goes to the ring from there on, and the worker
/// goes on with other requests. A write to the page cache is a copy too: it is done at once, with
/// [`Flags::NOWAIT`] where the file system can, and otherwise plainly; the latter may wait while
/// the kernel throttles writers. A file in memory is read and written at once in any case. What
/// always waits goes to the ring right away: direct I/O, durable
/// writes, syncing, discarding and zeroing. Memory that direct I/O does not take is copied, at once.
#[derive(Debug)]
pub struct Engine<G: MemoryGuard> {
    disk: Arc<Disk>,
    ring: Option<Uring<G>>,
    refusal: Option<io::Error>,
    cached: bool,
    nowait_reads: bool,
    nowait_writes: bool,
    /// Of memory, for direct I/O.
    alignment: u32,
    bounce: Bounce,
}

impl<G: MemoryGuard> Engine<G> {
    /// An engine with at most `depth` requests in flight.
    ///
    /// # Errors
    ///
    /// In [`Mode::Uring`] those of [`Uring::new`]; otherwise it cannot fail.
    pub fn new(disk: Arc<Disk>, mode: Mode, depth: u16) -> io::Result<Self> {
        let ring = match mode {
            Mode::Auto => Some(Uring::new(&*disk, depth)),
            Mode::Uring => Some(Ok(Uring::new(&*disk, depth)?)),
            Mode::Sync => None,
        };
        let (ring, refusal) = match ring.transpose() {
            Ok(ring) => (ring, None),
            Err(error) => (None, Some(error)),
        };
        let cached = mode != Mode::Uring && !disk.is_direct();
        Ok(Self {
            alignment: disk.alignment().memory,
            disk,
            ring,
            refusal,
            cached,
            nowait_reads: true,
            nowait_writes: true,
            bounce: Bounce::default(),
        })
    }

    /// Why there is no ring, if the host refused one. For the log.
    pub fn refusal(&self) -> Option<&io::Error> {
        self.refusal.as_ref()
    }

    /// The file that all this is done to.
    pub fn disk(&self) -> &Arc<Disk> {
        &self.disk
    }

    /// Reads from byte `offset` of the file into `iovecs`.
    ///
    /// # Errors
    ///
    /// When it was left to the ring and cannot be started there. `iovecs` may have been filled in
    /// part by then.
    #[inline(always)]
    pub fn read<B: BitmapSlice, S: IntoIterator<Item = Segment>>(
        &mut self,
        offset: u64,
        iovecs: &mut Iovecs<'_, B>,
        deferred: Deferred<'_, G, S>,
    ) -> Result<Submitted, SubmitError> {
        if self.bounces(iovecs) {
            let read = self.bounce.read(&self.disk, offset, iovecs);
            return Ok(Submitted::Done(read));
        }
        let total = iovecs.remaining();
        if let Some(result) = self.read_now(offset, iovecs) {
            return Ok(Submitted::Done(result));
        }
        self.defer(
            Operation::Read { offset },
            total - iovecs.remaining(),
            deferred,
        )
    }

    /// Writes `iovecs` to the file, from its byte `offset` on. With [`Flags::DSYNC`] it is
    /// durable when it is done.
    ///
    /// # Errors
    ///
    /// When it was left to the ring and cannot be started there. `iovecs` may have been written in
    /// part by then.
    #[inline(always)]
    pub fn write<B: BitmapSlice, S: IntoIterator<Item = Segment>>(
        &mut self,
        offset: u64,
        flags: Flags,
        iovecs: &mut Iovecs<'_, B>,
        deferred: Deferred<'_, G, S>,
    ) -> Result<Submitted, SubmitError> {
        if self.bounces(iovecs) {
            let written = self.bounce.write(&self.disk, offset, flags, iovecs);
            return Ok(Submitted::Done(written));
        }
        let total = iovecs.remaining();
        if let Some(result) = self.write_now(offset, flags, iovecs) {
            return Ok(Submitted::Done(result));
        }
        let operation = Operation::Write { offset, flags };
        self.defer(operation, total - iovecs.remaining(), deferred)
    }

    /// Makes all data durable whose write is done.
    ///
    /// # Errors
    ///
    /// [`SubmitError::Full`].
    pub fn sync_data(&mut self, token: u64) -> Result<Submitted, SubmitError> {
        match &mut self.ring {
            Some(ring) => ring.sync_data(token).map(|()| Submitted::InFlight),
            None => Ok(done(self.disk.sync_data())),
        }
    }

    /// As [`Disk::discard`]. On a block device it is done at once: the ring could only zero, which
    /// a device that can discard need not be able to do.
    ///
    /// # Errors
    ///
    /// [`SubmitError::Full`].
    pub fn discard(&mut self, token: u64, range: FileRange) -> Result<Submitted, SubmitError> {
        match &mut self.ring {
            Some(ring) if !self.disk.is_block_device() => {
                ring.discard(token, range).map(|()| Submitted::InFlight)
            }
            _ => Ok(done(self.disk.discard(range))),
        }
    }

    /// As [`Disk::write_zeroes`].
    ///
    /// # Errors
    ///
    /// [`SubmitError::Full`].
    pub fn write_zeroes(
        &mut self,
        token: u64,
        range: FileRange,
        may_unmap: bool,
    ) -> Result<Submitted, SubmitError> {
        match &mut self.ring {
            Some(ring) if !range.is_empty() => ring
                .write_zeroes(token, range, may_unmap)
                .map(|()| Submitted::InFlight),
            _ => Ok(done(self.disk.write_zeroes(range, may_unmap))),
        }
    }

    /// As [`Disk::overwrite`].
    ///
    /// # Errors
    ///
    /// [`SubmitError::Full`].
    pub fn overwrite(&mut self, token: u64, range: FileRange) -> Result<Submitted, SubmitError> {
        match &mut self.ring {
            Some(ring) if !range.is_empty() => {
                ring.overwrite(token, range).map(|()| Submitted::InFlight)
            }
            _ => Ok(done(self.disk.overwrite(range))),
        }
    }

    /// Starts what was left to the ring since the last call: [`Uring::flush`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn flush(&mut self) -> io::Result<()> {
        self.ring.as_mut().map_or(Ok(()), Uring::flush)
    }

    /// The next request that has ended: [`Uring::poll`].
    pub fn poll(&mut self) -> Option<Completion> {
        let Completion { token, result } = self.ring.as_mut()?.poll()?;
        let result = result.map_err(|error| self.disk.explain(error));
        Some(Completion { token, result })
    }

    /// Waits for the ring: [`Uring::wait`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn wait(&mut self) -> io::Result<()> {
        self.ring.as_mut().map_or(Ok(()), Uring::wait)
    }

    /// Requests in the ring whose completion was not polled yet.
    pub fn in_flight(&self) -> usize {
        self.ring.as_ref().map_or(0, Uring::in_flight)
    }

    /// Whether a request might be refused with [`SubmitError::Full`]: better to take none from the
    /// guest now.
    pub fn is_full(&self) -> bool {
        self.ring.as_ref().is_some_and(Uring::is_full)
    }

    /// The descriptor that is readable while a completion waits to be polled, if there is a ring.
    pub fn completion_fd(&self) -> Option<BorrowedFd<'_>> {
        self.ring.as_ref().map(AsFd::as_fd)
    }

    /// Whether the disk takes other memory than this.
    #[inline(always)]
    fn bounces<B: BitmapSlice>(&self, iovecs: &Iovecs<'_, B>) -> bool {
        self.alignment > 1 && !iovecs.is_aligned(self.alignment)
    }

    /// Reads what can be read at once. `None` if the rest has to be left to the ring.
    #[inline(always)]
    fn read_now<B: BitmapSlice>(
        &mut self,
        offset: u64,
        iovecs: &mut Iovecs<'_, B>,
    ) -> Option<io::Result<usize>> {
        let total = iovecs.remaining();
        while !iovecs.is_empty() {
            let flags = self.read_flags()?;
            let done = total - iovecs.remaining();
            match read_at(
                &*self.disk,
                iovecs,
                offset.saturating_add(done as u64),
                flags,
            ) {
                // Linux 5.9 and 5.10 say so, now and then, of what would have to be waited for.
                Ok(0) if flags == Flags::NOWAIT => return None,
                Ok(0) => return Some(Ok(done)),
                Ok(_) => {}
                Err(error) if flags == Flags::NONE => return Some(Err(error)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) if is_unsupported(&error) => self.nowait_reads = false,
                Err(error) => return Some(Err(error)),
            }
        }
        Some(Ok(total))
    }

    /// Writes what can be written at once. `None` if the rest has to be left to the ring.
    #[inline(always)]
    fn write_now<B: BitmapSlice>(
        &mut self,
        offset: u64,
        flags: Flags,
        iovecs: &mut Iovecs<'_, B>,
    ) -> Option<io::Result<usize>> {
        let total = iovecs.remaining();
        while !iovecs.is_empty() {
            let flags = self.write_flags(flags)?;
            let nowait = flags.contains(Flags::NOWAIT);
            let done = total - iovecs.remaining();
            match write_at(
                &*self.disk,
                iovecs,
                offset.saturating_add(done as u64),
                flags,
            ) {
                Ok(0) => return Some(Err(ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) if nowait && error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) if nowait && is_unsupported(&error) => self.nowait_writes = false,
                Err(error) => return Some(Err(self.disk.explain(error))),
            }
        }
        Some(Ok(total))
    }

    /// How to read at once, if at all.
    #[inline(always)]
    fn read_flags(&self) -> Option<Flags> {
        match self.ring {
            None => Some(Flags::NONE),
            Some(_) if self.cached && self.disk.is_in_memory() => Some(Flags::NONE),
            Some(_) => (self.cached && self.nowait_reads).then_some(Flags::NOWAIT),
        }
    }

    /// How to write at once, if at all.
    #[inline(always)]
    fn write_flags(&self, flags: Flags) -> Option<Flags> {
        match self.ring {
            None => Some(flags),
            Some(_) if self.cached && self.disk.is_in_memory() => Some(flags),
            Some(_) if !self.cached || flags.contains(Flags::DSYNC) => None,
            Some(_) if self.nowait_writes => Some(flags | Flags::NOWAIT),
            Some(_) => Some(flags),
        }
    }

    /// Leaves to the ring what remains after the first `done` bytes.
    fn defer<S: IntoIterator<Item = Segment>>(
        &mut self,
        operation: Operation,
        done: usize,
        deferred: Deferred<'_, G, S>,
    ) -> Result<Submitted, SubmitError> {
        let ring = self.ring.as_mut().ok_or(SubmitError::Full)?;
        let Deferred {
            token,
            memory,
            segments,
        } = deferred;
        ring.transfer(token, operation, memory, segments, done)?;
        Ok(Submitted::InFlight)
    }
}

fn done(result: io::Result<()>) -> Submitted {
    Submitted::Done(result.map(|()| 0))
}
