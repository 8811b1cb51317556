//! Where the blocks of a virtual disk are.

use std::io;
use std::os::fd::BorrowedFd;

use vm_memory::bitmap::BitmapSlice;

use crate::{
    BlockSize, Completion, Deferred, FileRange, Flags, Iovecs, MemoryGuard, Segment, SubmitError,
    Submitted,
};
/// Storage behind a virtual disk: an image, a disk of the host, or another back-end with something
/// added.
///
/// Each worker of the device has a [`Channel`] of its own, on whatever thread it is.
pub trait Backend: Send + 'static {
    /// What a worker does its requests through. `G` keeps guest memory mapped.
    type Channel<G: MemoryGuard + Send + Sync>: Channel<G>;

    /// What it is.
    ///
    /// # Errors
    /// Where the host cannot tell.
    fn facts(&self) -> io::Result<Facts>;

    /// Claims the storage for this device: alone (beside other readers, if it is read-only), or
    /// `shared` with all who said so too.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) where others have it.
    fn claim(&self, shared: bool) -> io::Result<()>;

    /// A channel for at most `depth` requests in flight.
    ///
    /// # Errors
    /// Where the host is out of resources.
    fn channel<G: MemoryGuard + Send + Sync>(&self, depth: u16) -> io::Result<Self::Channel<G>>;
}

/// What a [`Backend`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Size in bytes.
    pub size: u64,
    /// Block sizes in bytes; the logical one is the smallest that it can transfer.
    pub block_size: BlockSize,
    /// Bytes that offsets and lengths of requests are multiples of, whatever blocks the device shows.
    pub alignment: u32,
    /// Whether writes are to be refused.
    pub read_only: bool,
    /// Whether writes may stay in a cache until the driver flushes them. This is the device's
    /// default; the channel obeys [`Flags::DSYNC`] of each write in any case.
    pub write_back: bool,
    /// Whether [`Channel::overwrite`] leaves nothing of what was stored, as far as this back-end
    /// has a say in it.
    pub overwrites: bool,
}

/// One worker's way to its [`Backend`], in the manner of [`Engine`](crate::Engine).
///
/// A request is done at once or stays in flight, under its token, until [`poll`](Self::poll)
/// returns its completion. The device has checked that it lies within the storage and consists of
/// whole blocks.
pub trait Channel<G: MemoryGuard>: Send + 'static {
    /// Reads from byte `offset` on into guest memory.
    ///
    /// # Errors
    /// Where it has to be deferred and cannot be.
    fn read<B: BitmapSlice, S: IntoIterator<Item = Segment>>(
        &mut self,
        offset: u64,
        iovecs: &mut Iovecs<'_, B>,
        deferred: Deferred<'_, G, S>,
    ) -> Result<Submitted, SubmitError>;

    /// Writes guest memory, from byte `offset` on; durable when done if `flags` say
    /// [`Flags::DSYNC`].
    ///
    /// # Errors
    /// Where it has to be deferred and cannot be.
    fn write<B: BitmapSlice, S: IntoIterator<Item = Segment>>(
        &mut self,
        offset: u64,
        flags: Flags,
        iovecs: &mut Iovecs<'_, B>,
        deferred: Deferred<'_, G, S>,
    ) -> Result<Submitted, SubmitError>;

    /// Makes durable what was written and completed before.
    ///
    /// # Errors
    /// Where it has to be deferred and cannot be.
    fn sync_data(&mut self, token: u64) -> Result<Submitted, SubmitError>;

    /// Forgets the contents of `range`, or does nothing.
    ///
    /// # Errors
    /// Where it has to be deferred and cannot be.
    fn discard(&mut self, token: u64, range: FileRange) -> Result<Submitted, SubmitError>;

    /// Makes `range` read as zeroes; if `may_unmap`, its storage may be given back.
    ///
    /// # Errors
    /// Where it has to be deferred and cannot be.
    fn write_zeroes(
        &mut self,
        token: u64,
        range: FileRange,
        may_unmap: bool,
    ) -> Result<Submitted, SubmitError>;

    /// Writes zeroes over `range`, whatever shorter ways there are.
    ///
    /// # Errors
    /// Where it has to be deferred and cannot be.
    fn overwrite(&mut self, token: u64, range: FileRange) -> Result<Submitted, SubmitError>;

    /// Starts what was deferred since the last call.
    ///
    /// # Errors
    /// Where the host is short of something: to be called again.
    fn flush(&mut self) -> io::Result<()>;

    /// The next request that was in flight and has ended, without waiting.
    fn poll(&mut self) -> Option<Completion>;

    /// A descriptor that is readable while a completion waits to be polled. `None` for a channel
    /// that never leaves a request in flight.
    fn completion_fd(&self) -> Option<BorrowedFd<'_>>;

    /// A descriptor that is readable when a request that had to wait may begin, which it does when
    /// this is polled. `None` for a channel whose requests begin when they are made.
    fn timer_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// While `on`, no request waits for the time when it may begin: those that do begin when this is
    /// next polled. For whoever is about to stop.
    fn drain(&mut self, _on: bool) {}

    /// Has the request under `token` end as [`Cancelled`](super::Cancelled) if it has not begun. It is
    /// polled as any other.
    fn cancel(&mut self, _token: u64) {}
}
