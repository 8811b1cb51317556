//! One request of the ring, from its submission to its completion.

use std::any::TypeId;
use std::io::{self, ErrorKind};

use io_uring::squeue::Entry;
use io_uring::{opcode, types};
use libc::iovec;
use vm_memory::bitmap::{BS, Bitmap};
use vm_memory::{Address, GuestMemory, GuestMemoryError, Permissions, VolatileSlice};

use crate::anchor::Anchor;
use crate::disk::{FileRange, PUNCH_HOLE, is_unsupported};
use crate::iovec_array::{IovecArray, KEPT};
use crate::vectored::file_offset;
use crate::zeroes::{self, Method};
use crate::{Flags, MemoryGuard, Segment, SubmitError};

/// What is to be done to the file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    Read { offset: u64 },
    Write { offset: u64, flags: Flags },
    Sync,
    Discard(FileRange),
    Zero(FileRange, Method),
}

/// The place of one request. It owns all that the kernel uses for it: the iovecs, and the guard
/// that keeps the memory behind them mapped. Its vectors are used again by the next request.
#[derive(Debug)]
pub(crate) struct Slot<G> {
    pub(crate) token: u64,
    operation: Operation,
    /// Bytes transferred.
    done: usize,
    segments: Vec<Segment>,
    iovecs: IovecArray,
    memory: Anchor<G>,
}

impl<G: MemoryGuard> Slot<G> {
    pub(crate) fn new() -> Self {
        Self {
            token: 0,
            operation: Operation::Sync,
            done: 0,
            segments: Vec::new(),
            iovecs: IovecArray::default(),
            memory: Anchor::new(),
        }
    }

    /// Makes it a request that transfers no guest memory.
    pub(crate) fn set(&mut self, token: u64, operation: Operation) {
        (self.token, self.operation, self.done) = (token, operation, 0);
    }

    /// Makes it a request that transfers `segments`, the first `done` bytes of which are
    /// transferred already.
    pub(crate) fn set_segments(
        &mut self,
        memory: &G,
        segments: impl IntoIterator<Item = Segment>,
        done: usize,
    ) -> Result<(), SubmitError> {
        let access = self.operation.access();
        let memory: &G::Memory = self.memory.hold(memory.clone());
        for segment in segments.into_iter().filter(|(_, len)| *len > 0) {
            resolve(memory, segment, access, |slice| self.iovecs.push(&slice))?;
            self.segments.push(segment);
        }
        let end = self
            .operation
            .offset()
            .saturating_add(self.iovecs.remaining() as u64);
        file_offset(end).map_err(|_| SubmitError::Offset(self.operation.offset()))?;
        self.iovecs.advance(done);
        self.done = done;
        Ok(())
    }

    /// Ends the request: the kernel must be done with it.
    pub(crate) fn clear(&mut self) {
        self.iovecs.clear();
        self.segments.clear();
        self.segments.shrink_to(KEPT);
        self.memory.release();
    }

    /// What to submit next for it.
    pub(crate) fn entry(&self) -> Entry {
        match self.operation {
            Operation::Read { offset } => self.read_entry(offset + self.done as u64),
            Operation::Write { offset, flags } => {
                self.write_entry(offset + self.done as u64, flags)
            }
            Operation::Sync => opcode::Fsync::new(FILE)
                .flags(types::FsyncFlags::DATASYNC)
                .build(),
            Operation::Discard(range) | Operation::Zero(range, _) if range.is_empty() => {
                opcode::Nop::new().build()
            }
            Operation::Discard(range) => fallocate_entry(range, PUNCH_HOLE.bits()),
            Operation::Zero(range, method) => zero_entry(range, method),
        }
    }

    /// Takes what the kernel said to the last entry: bytes, or a negative error number. Returns
    /// the result of the request, or `None` if there is more to submit.
    pub(crate) fn advance(&mut self, result: i32) -> Option<io::Result<usize>> {
        let Ok(count) = usize::try_from(result) else {
            return self.fail(result.saturating_neg());
        };
        match &mut self.operation {
            Operation::Read { .. } => {
                self.mark_dirty(count);
                self.transferred(count)
            }
            Operation::Write { .. } if count == 0 && self.iovecs.remaining() > 0 => {
                Some(Err(ErrorKind::WriteZero.into()))
            }
            Operation::Write { .. } => self.transferred(count),
            Operation::Zero(range, Method::Write) => {
                *range = range.skip(count as u64);
                match count {
                    _ if range.is_empty() => Some(Ok(0)),
                    0 => Some(Err(ErrorKind::WriteZero.into())),
                    _ => None,
                }
            }
            Operation::Sync | Operation::Discard(_) | Operation::Zero(..) => Some(Ok(0)),
        }
    }

    fn fail(&mut self, errno: i32) -> Option<io::Result<usize>> {
        let error = io::Error::from_raw_os_error(errno);
        if error.kind() == ErrorKind::Interrupted {
            return None;
        }
        match &mut self.operation {
            Operation::Discard(_) if is_unsupported(&error) => Some(Ok(0)),
            Operation::Zero(_, method) if is_unsupported(&error) => match method.fallback() {
                Some(next) => {
                    *method = next;
                    None
                }
                None => Some(Err(error)),
            },
            _ => Some(Err(error)),
        }
    }

    fn transferred(&mut self, count: usize) -> Option<io::Result<usize>> {
        self.iovecs.advance(count);
        self.done = self.done.saturating_add(count);
        let finished = count == 0 || self.iovecs.remaining() == 0;
        finished.then_some(Ok(self.done))
    }

    /// Marks the next `count` bytes, which the kernel has just written.
    ///
    /// The segments are looked up again: what a bitmap slice borrows could not be kept beside the
    /// guard it is borrowed from. Behind an IOMMU a segment may be unmapped by now; its address
    /// is then nowhere that a mark could go.
    fn mark_dirty(&self, count: usize) {
        if TypeId::of::<<G::Memory as GuestMemory>::Bitmap>() == TypeId::of::<()>() {
            return;
        }
        let Some(guard) = self.memory.guard() else {
            return;
        };
        let memory: &G::Memory = guard;
        for_each_piece(&self.segments, self.done, count, |(address, len)| {
            let slices = memory.get_slices(address, len, Permissions::Write);
            for slice in slices.into_iter().flatten().filter_map(Result::ok) {
                slice.bitmap().mark_dirty(0, slice.len());
            }
        });
    }

    fn read_entry(&self, offset: u64) -> Entry {
        match *self.iovecs.next() {
            [iovec { iov_base, iov_len }] => {
                opcode::Read::new(FILE, iov_base.cast(), one_call(iov_len))
                    .offset(offset)
                    .build()
            }
            ref many => opcode::Readv::new(FILE, many.as_ptr(), many.len() as u32)
                .offset(offset)
                .build(),
        }
    }

    fn write_entry(&self, offset: u64, flags: Flags) -> Entry {
        match *self.iovecs.next() {
            [iovec { iov_base, iov_len }] => {
                opcode::Write::new(FILE, iov_base.cast(), one_call(iov_len))
                    .offset(offset)
                    .rw_flags(flags.bits())
                    .build()
            }
            ref many => opcode::Writev::new(FILE, many.as_ptr(), many.len() as u32)
                .offset(offset)
                .rw_flags(flags.bits())
                .build(),
        }
    }
}

impl Operation {
    /// What it does to guest memory.
    fn access(self) -> Permissions {
        match self {
            Self::Read { .. } => Permissions::Write,
            _ => Permissions::Read,
        }
    }

    fn offset(self) -> u64 {
        match self {
            Self::Read { offset } | Self::Write { offset, .. } => offset,
            Self::Sync => 0,
            Self::Discard(range) | Self::Zero(range, _) => range.offset(),
        }
    }
}

/// Has `push` take the slices of a segment, which is not empty.
pub(crate) fn resolve<'m, M: GuestMemory>(
    memory: &'m M,
    (address, len): Segment,
    access: Permissions,
    mut push: impl FnMut(VolatileSlice<'m, BS<'m, M::Bitmap>>),
) -> Result<(), GuestMemoryError> {
    // vm-memory's IOTLB does not survive a range that wraps.
    address
        .checked_add(len as u64)
        .ok_or(GuestMemoryError::GuestAddressOverflow)?;
    for slice in memory.get_slices(address, len, access)? {
        push(slice?);
    }
    Ok(())
}

/// Calls `f` with `count` bytes of `segments` from byte `skip` on, piece by piece.
fn for_each_piece(segments: &[Segment], skip: usize, count: usize, mut f: impl FnMut(Segment)) {
    let (mut skip, mut left) = (skip, count);
    for (address, len) in segments {
        let start = skip.min(*len);
        let taken = (len - start).min(left);
        skip -= start;
        left -= taken;
        if taken > 0 {
            f((address.unchecked_add(start as u64), taken));
        }
    }
}

fn fallocate_entry(range: FileRange, mode: u32) -> Entry {
    opcode::Fallocate::new(FILE, range.len())
        .offset(range.offset())
        .mode(mode as i32)
        .build()
}

fn zero_entry(range: FileRange, method: Method) -> Entry {
    if let Some(mode) = method.fallocate() {
        return fallocate_entry(range, mode.bits());
    }
    let piece = zeroes::piece(range);
    opcode::Write::new(FILE, piece.as_ptr(), one_call(piece.len()))
        .offset(range.offset())
        .build()
}

/// The length for one entry, if need be less: the kernel transfers no more than 2 GiB at once.
fn one_call(len: usize) -> u32 {
    len.min(1 << 30) as u32
}

/// The one file of a ring, as registered.
const FILE: types::Fixed = types::Fixed(0);
