//! Reads and writes that are done later: io_uring.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use io_uring::types::CancelBuilder;
use io_uring::{IoUring, Probe, opcode};

use crate::slot::{Operation, Slot};
use crate::zeroes::Method;
use crate::{Completion, FileRange, Flags, MemoryGuard, Segment, SubmitError};

/// An io_uring for one file and the guest memory behind guards of type `G`.
///
/// A request is made by one of the methods that take a `token`, starts at the next
/// [`flush`](Self::flush), and ends when [`poll`](Self::poll) returns its [`Completion`]. Until
/// then it owns a clone of its guard, so its memory stays mapped whatever happens to the memory
/// map. Short transfers are continued inside. After the first requests nothing is allocated.
///
/// The descriptor ([`AsFd`]) is readable as long as a completion waits to be polled, for a
/// level-triggered event loop.
///
/// It may move between threads, but the kernel cancels what a thread has submitted and not finished
/// when that thread exits.
///
/// Dropping it cancels what can be cancelled and waits for the rest, so that the kernel writes to
/// no memory after its guard is gone. The data of cancelled writes may or may not be in the file:
/// [`wait`](Self::wait) until nothing is in flight where this matters.
pub struct Uring<G: MemoryGuard> {
    ring: IoUring,
    /// As many as there have been in flight at a time so far.
    slots: Vec<Slot<G>>,
    free: Vec<usize>,
    depth: usize,
}

impl<G: MemoryGuard> Uring<G> {
    /// A ring for at most `depth` requests in flight, on one file.
    ///
    /// The ring keeps the file open for itself.
    ///
    /// # Errors
    ///
    /// Those of `io_uring_setup(2)` and `io_uring_register(2)`, among them `ENOSYS` and `EPERM`
    /// where io_uring is disabled or filtered, and `EINVAL` for a depth of 0 or over 32768;
    /// [`ErrorKind::Unsupported`] on a kernel older than 5.6.
    pub fn new(file: impl AsFd, depth: u16) -> io::Result<Self> {
        let ring = IoUring::new(depth.into())?;
        check_operations(&ring)?;
        ring.submitter()
            .register_files(&[file.as_fd().as_raw_fd()])?;
        let depth = depth.into();
        Ok(Self {
            ring,
            slots: Vec::with_capacity(depth),
            free: Vec::with_capacity(depth),
            depth,
        })
    }

    /// Reads from byte `offset` of the file into `segments`.
    ///
    /// # Errors
    ///
    /// When it cannot be started; nothing is in flight then, and no memory was changed.
    pub fn read(
        &mut self,
        token: u64,
        offset: u64,
        memory: &G,
        segments: impl IntoIterator<Item = Segment>,
    ) -> Result<(), SubmitError> {
        self.transfer(token, Operation::Read { offset }, memory, segments, 0)
    }

    /// Writes `segments` to the file, from its byte `offset` on.
    ///
    /// # Errors
    ///
    /// When it cannot be started; nothing is in flight then.
    pub fn write(
        &mut self,
        token: u64,
        offset: u64,
        flags: Flags,
        memory: &G,
        segments: impl IntoIterator<Item = Segment>,
    ) -> Result<(), SubmitError> {
        self.transfer(
            token,
            Operation::Write { offset, flags },
            memory,
            segments,
            0,
        )
    }

    /// Makes all data durable whose write was completed before: `fdatasync(2)`.
    ///
    /// # Errors
    ///
    /// [`SubmitError::Full`].
    pub fn sync_data(&mut self, token: u64) -> Result<(), SubmitError> {
        self.operate(token, Operation::Sync)
    }

    /// Advises the host that the contents of `range` are no longer needed, as
    /// [`Disk::discard`](crate::Disk::discard) does for a regular file. A block device is zeroed,
    /// where it has a short way to do that.
    ///
    /// # Errors
    ///
    /// [`SubmitError::Full`].
    pub fn discard(&mut self, token: u64, range: FileRange) -> Result<(), SubmitError> {
        self.operate(token, Operation::Discard(range))
    }

    /// Makes `range` read as zeroes, as [`Disk::write_zeroes`](crate::Disk::write_zeroes) does.
    ///
    /// # Errors
    ///
    /// [`SubmitError::Full`].
    pub fn write_zeroes(
        &mut self,
        token: u64,
        range: FileRange,
        may_unmap: bool,
    ) -> Result<(), SubmitError> {
        self.operate(token, Operation::Zero(range, Method::first(may_unmap)))
    }

    /// Writes zeroes over `range`, as [`Disk::overwrite`](crate::Disk::overwrite) does.
    ///
    /// # Errors
    ///
    /// [`SubmitError::Full`].
    pub fn overwrite(&mut self, token: u64, range: FileRange) -> Result<(), SubmitError> {
        self.operate(token, Operation::Zero(range, Method::Write))
    }

    /// Starts all requests made since the last call: one system call, none if there are none.
    ///
    /// # Errors
    ///
    /// Those of `io_uring_enter(2)`, such as `EAGAIN` for lack of memory. The requests stay, and
    /// are started by a later call of this, [`poll`](Self::poll) or [`wait`](Self::wait).
    pub fn flush(&mut self) -> io::Result<()> {
        while !self.ring.submission().is_empty() {
            match self.ring.submit() {
                Ok(0) => return Err(ErrorKind::WouldBlock.into()),
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// The next request that has ended, without waiting. Without a system call too, unless there
    /// is something to start, such as the rest of a short transfer.
    pub fn poll(&mut self) -> Option<Completion> {
        while let Some((index, result)) = self.next_entry() {
            if let Some(completion) = self.advance(index, result) {
                return Some(completion);
            }
        }
        // Short transfers go on even if the caller only polls. Should it fail, the next call of
        // whatever starts requests tries again.
        let _ = self.flush();
        None
    }

    /// Starts what is not started and waits until the kernel has something to say to a request:
    /// [`poll`](Self::poll) then. Returns at once if nothing is in flight.
    ///
    /// # Errors
    ///
    /// Those of `io_uring_enter(2)`.
    pub fn wait(&mut self) -> io::Result<()> {
        while self.in_flight() > 0 && self.ring.completion().is_empty() {
            match self.ring.submit_and_wait(1) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Requests made whose completion was not polled yet.
    pub fn in_flight(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether the next request would be refused with [`SubmitError::Full`].
    pub fn is_full(&self) -> bool {
        self.in_flight() == self.depth
    }

    /// Signals `eventfd` at each completion, for event loops that cannot watch the ring itself.
    ///
    /// # Errors
    ///
    /// Those of `io_uring_register(2)`: `EBUSY` if one is registered.
    pub fn register_eventfd(&self, eventfd: impl AsFd) -> io::Result<()> {
        self.ring
            .submitter()
            .register_eventfd(eventfd.as_fd().as_raw_fd())
    }

    /// As [`read`](Self::read) and [`write`](Self::write), after the first `done` bytes.
    pub(crate) fn transfer(
        &mut self,
        token: u64,
        operation: Operation,
        memory: &G,
        segments: impl IntoIterator<Item = Segment>,
        done: usize,
    ) -> Result<(), SubmitError> {
        self.start(|slot| {
            slot.set(token, operation);
            slot.set_segments(memory, segments, done)
        })
    }

    fn operate(&mut self, token: u64, operation: Operation) -> Result<(), SubmitError> {
        self.start(|slot| {
            slot.set(token, operation);
            Ok(())
        })
    }

    fn start(
        &mut self,
        fill: impl FnOnce(&mut Slot<G>) -> Result<(), SubmitError>,
    ) -> Result<(), SubmitError> {
        let index = self.place()?;
        let slot = self.slots.get_mut(index).ok_or(SubmitError::Full)?;
        let result = fill(slot).and_then(|()| self.push(index));
        match result {
            Ok(()) => self.free.truncate(self.free.len() - 1),
            Err(_) => self.release(index),
        }
        result
    }

    /// The place of the next request: one that was used before, or else a new one.
    fn place(&mut self) -> Result<usize, SubmitError> {
        if self.free.is_empty() && self.slots.len() < self.depth {
            self.free.push(self.slots.len());
            self.slots.push(Slot::new());
        }
        self.free.last().copied().ok_or(SubmitError::Full)
    }

    /// Queues what is next for a slot. There is room: a slot has at most one entry in the queue,
    /// and the queue has at least as many places as there are slots.
    fn push(&mut self, index: usize) -> Result<(), SubmitError> {
        let slot = self.slots.get(index).ok_or(SubmitError::Full)?;
        let entry = slot.entry().user_data(index as u64);
        // SAFETY: The entry names a registered file and, if any, the iovecs of the slot and the
        // memory behind them, or a static. Slots and their guards are not touched until the
        // completion of the entry is seen, by `advance`, and not dropped before the kernel is done
        // with all of them, by `Drop`; if `self` is forgotten, so are they. The iovecs are on the
        // heap and not changed meanwhile. Their memory is valid as long as the volatile slices
        // they were made from, that is, as long as the guard in the slot's anchor is borrowed, and
        // it could be, for it stays there unmoved and unchanged.
        unsafe { self.ring.submission().push(&entry) }.map_err(|_| SubmitError::Full)
    }

    fn next_entry(&mut self) -> Option<(usize, i32)> {
        let entry = self.ring.completion().next()?;
        Some((entry.user_data() as usize, entry.result()))
    }

    /// Takes the kernel's answer for a slot. Returns the completion if that ends the request;
    /// otherwise what is next for it is queued.
    fn advance(&mut self, index: usize, result: i32) -> Option<Completion> {
        let slot = self.slots.get_mut(index)?;
        let token = slot.token;
        let result = match slot.advance(result) {
            Some(result) => result,
            None => match self.push(index) {
                Ok(()) => return None,
                Err(_) => Err(ErrorKind::ResourceBusy.into()),
            },
        };
        self.release(index);
        self.free.push(index);
        Some(Completion { token, result })
    }

    fn release(&mut self, index: usize) {
        if let Some(slot) = self.slots.get_mut(index) {
            slot.clear();
        }
    }
}

impl<G: MemoryGuard> AsFd for Uring<G> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: The descriptor is the ring's, which is open as long as `self`.
        unsafe { BorrowedFd::borrow_raw(self.ring.as_raw_fd()) }
    }
}

impl<G: MemoryGuard> std::fmt::Debug for Uring<G> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Uring")
            .field("depth", &self.depth)
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

impl<G: MemoryGuard> Drop for Uring<G> {
    fn drop(&mut self) {
        self.cancel();
        let waited = self.wait_for_kernel();
        if waited.is_err() {
            // The kernel may still write to the memory: better to leak it than to free it.
            std::mem::forget(std::mem::take(&mut self.slots));
        }
        // The kernel takes a ring down in the background. Without this the file, and a lock on
        // it, would be held for a while after we return.
        let _ = self.ring.submitter().unregister_files();
    }
}

impl<G: MemoryGuard> Uring<G> {
    /// Cancels whatever the kernel can cancel (since Linux 6.0): a read from a pipe could wait for
    /// ever.
    fn cancel(&self) {
        if self.in_flight() == 0 {
            return;
        }
        let submitter = self.ring.submitter();
        while submitter
            .register_sync_cancel(None, CancelBuilder::any())
            .is_err_and(|error| error.kind() == ErrorKind::Interrupted)
        {}
    }

    /// Waits until the kernel has none of the slots. What was never submitted is dropped.
    fn wait_for_kernel(&mut self) -> io::Result<()> {
        let mut theirs = self
            .in_flight()
            .saturating_sub(self.ring.submission().len());
        loop {
            while let Some((index, result)) = self.next_entry() {
                // For the sake of the dirty marks; what would be next is not done any more.
                let _ = self.slots.get_mut(index).map(|slot| slot.advance(result));
                theirs = theirs.saturating_sub(1);
            }
            if theirs == 0 {
                return Ok(());
            }
            self.enter_and_wait()?;
        }
    }

    /// Waits for one completion without submitting anything.
    fn enter_and_wait(&self) -> io::Result<()> {
        let flags = io_uring::EnterFlags::GETEVENTS.bits();
        // SAFETY: Nothing is submitted, and no argument structure is passed.
        match unsafe {
            self.ring
                .submitter()
                .enter::<libc::sigset_t>(0, 1, flags, None)
        } {
            Err(error) if !is_transient(&error) => Err(error),
            _ => Ok(()),
        }
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINTR | libc::EAGAIN | libc::EBUSY)
    )
}

fn check_operations(ring: &IoUring) -> io::Result<()> {
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    let supported = OPERATIONS
        .iter()
        .all(|operation| probe.is_supported(*operation));
    if supported {
        Ok(())
    } else {
        Err(ErrorKind::Unsupported.into())
    }
}

const OPERATIONS: [u8; 6] = [
    opcode::Read::CODE,
    opcode::Readv::CODE,
    opcode::Write::CODE,
    opcode::Writev::CODE,
    opcode::Fsync::CODE,
    opcode::Fallocate::CODE,
];
