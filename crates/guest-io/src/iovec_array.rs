//! The address and length pairs that `preadv2(2)` and io_uring take, and how far they got.

use libc::{c_void, iovec};
use vm_memory::VolatileSlice;
use vm_memory::bitmap::BitmapSlice;

/// Host memory to be transferred, as the kernel takes it.
///
/// Only addresses: what keeps the memory mapped, and marks it dirty, is its owner's business.
/// They are never dereferenced on this side of the system call.
#[derive(Debug, Default)]
pub(crate) struct IovecArray {
    iovecs: Vec<iovec>,
    first: usize,
    remaining: usize,
}

// SAFETY: The pointers are handed to the kernel and to nobody else, and the kernel, which copies
// on behalf of any thread, does not care which one named them. Whether the memory is still mapped
// does not depend on the thread either.
unsafe impl Send for IovecArray {}

// SAFETY: As above; and nothing is changed through a shared reference.
unsafe impl Sync for IovecArray {}

impl IovecArray {
    /// Adds a slice, to the last iovec if it continues it in host memory and is still to come.
    #[inline]
    pub(crate) fn push<B: BitmapSlice>(&mut self, slice: &VolatileSlice<'_, B>) {
        let (base, len) = (slice.ptr_guard_mut().as_ptr(), slice.len());
        if len == 0 {
            return;
        }
        self.remaining = self.remaining.saturating_add(len);
        let left = self.iovecs.get_mut(self.first..).unwrap_or_default();
        match left.last_mut() {
            Some(last) if continues(last, base) => last.iov_len += len,
            _ => self.iovecs.push(iovec {
                iov_base: base.cast::<c_void>(),
                iov_len: len,
            }),
        }
    }

    /// What one system call may take: the next iovecs, at most as many as the kernel accepts.
    #[inline]
    pub(crate) fn next(&self) -> &[iovec] {
        let rest = self.iovecs.get(self.first..).unwrap_or_default();
        rest.get(..IOV_MAX).unwrap_or(rest)
    }

    /// The same to be read into. The kernel leaves the iovecs themselves alone.
    #[inline]
    pub(crate) fn next_mut(&mut self) -> &mut [iovec] {
        let rest = self.iovecs.get_mut(self.first..).unwrap_or_default();
        let len = rest.len().min(IOV_MAX);
        &mut rest[..len]
    }

    /// Whether all that is left begins and ends at multiples of `alignment` bytes, a power of two.
    pub(crate) fn is_aligned(&self, alignment: u32) -> bool {
        let left = self.iovecs.get(self.first..).unwrap_or_default();
        let all = left
            .iter()
            .fold(0, |all, next| all | next.iov_base.addr() | next.iov_len);
        all & (alignment as usize).saturating_sub(1) == 0
    }

    /// Bytes not yet transferred.
    #[inline]
    pub(crate) fn remaining(&self) -> usize {
        self.remaining
    }

    /// Skips `count` bytes, which were transferred. More than remain are as many as remain.
    #[inline]
    pub(crate) fn advance(&mut self, count: usize) {
        let mut count = count.min(self.remaining);
        self.remaining -= count;
        while let Some(next) = self.iovecs.get_mut(self.first) {
            if count < next.iov_len {
                next.iov_base = next.iov_base.wrapping_byte_add(count);
                next.iov_len -= count;
                return;
            }
            count -= next.iov_len;
            self.first += 1;
        }
    }

    /// Empties the array. Its storage is kept, as far as it is of a usual size.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.iovecs.clear();
        self.iovecs.shrink_to(KEPT);
        (self.first, self.remaining) = (0, 0);
    }
}

/// Whether memory at `base` directly follows that of `last`.
fn continues(last: &iovec, base: *mut u8) -> bool {
    last.iov_base.cast::<u8>().wrapping_add(last.iov_len) == base
}

/// Iovecs that one system call takes (`UIO_MAXIOV`).
const IOV_MAX: usize = 1024;

/// Elements for which a request leaves memory to the next one. A guest may send longer ones, but
/// not have the host keep that much for every request that could be in flight.
pub(crate) const KEPT: usize = IOV_MAX;
