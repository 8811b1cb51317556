//! The slices of guest memory that one request transfers.

use std::marker::PhantomData;

use libc::iovec;
use vm_memory::VolatileSlice;
use vm_memory::bitmap::BitmapSlice;

use crate::Storage;
use crate::iovec_array::KEPT;

/// A list of slices of guest memory, to be read into or written from, and how far that got. Memory
/// of the host's own may be between them.
///
/// The list lives in a [`Storage`] while it is used. `'m` is the life of the slices, `B` the type
/// of their dirty bitmap: the type says that the memory is mapped as long as the list is there.
///
/// A transfer consumes what it has transferred, so that the next one goes on where a short one
/// ended.
#[derive(Debug)]
pub struct Iovecs<'m, B> {
    storage: &'m mut Storage,
    marks: Vec<Mark<B>>,
    /// Where the next byte goes: index of the mark, and offset in it.
    next: (usize, usize),
    memory: PhantomData<VolatileSlice<'m, ()>>,
}

/// The dirty bitmap of one slice, from the slice's first byte on; none where that is the host's.
#[derive(Debug)]
struct Mark<B> {
    bitmap: Option<B>,
    len: usize,
}

impl<'m, B: BitmapSlice> Iovecs<'m, B> {
    /// An empty list in `storage`.
    pub fn new(storage: &'m mut Storage) -> Self {
        storage.iovecs.clear();
        let marks = storage.take();
        Self {
            storage,
            marks,
            next: (0, 0),
            memory: PhantomData,
        }
    }

    /// Adds a slice at the end.
    ///
    /// A slice that begins where the one before it ends in host memory shares its iovec. An empty
    /// slice adds nothing.
    pub fn push(&mut self, slice: VolatileSlice<'m, B>) {
        if slice.is_empty() {
            return;
        }
        self.storage.iovecs.push(&slice);
        self.marks.push(Mark {
            len: slice.len(),
            bitmap: Some(slice.bitmap().clone()),
        });
    }

    /// Adds memory of the host's own at the end: a header that the guest does not see as it is, or
    /// room for what the guest has none for.
    pub fn push_bytes(&mut self, bytes: &'m mut [u8]) {
        if bytes.is_empty() {
            return;
        }
        let len = bytes.len();
        self.storage.iovecs.push(&VolatileSlice::from(bytes));
        self.marks.push(Mark { len, bitmap: None });
    }

    /// Copies `bytes` to where a transfer would go on, as far as there is room, as if they had been
    /// read from a file. Returns how many were copied.
    pub fn copy_in(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while let Some(slice) = self.first().filter(|_| !rest.is_empty()) {
            let (now, later) = rest.split_at(rest.len().min(slice.len()));
            slice.copy_from(now);
            self.filled(now.len());
            rest = later;
        }
        bytes.len() - rest.len()
    }

    /// Copies from where a transfer would go on to `bytes`, as if to a file. Returns how many bytes
    /// were copied.
    pub fn copy_out(&mut self, bytes: &mut [u8]) -> usize {
        let mut copied = 0;
        while let (Some(slice), Some(rest)) = (self.first(), bytes.get_mut(copied..)) {
            if rest.is_empty() {
                break;
            }
            let count = slice.copy_to(rest);
            self.written(count);
            copied += count;
        }
        copied
    }

    /// Removes all slices, for the next request.
    pub fn clear(&mut self) {
        self.storage.iovecs.clear();
        self.marks.clear();
        self.next = (0, 0);
    }

    /// Bytes not yet transferred.
    pub fn remaining(&self) -> usize {
        self.storage.iovecs.remaining()
    }

    /// Whether there is nothing, or nothing more, to transfer.
    pub fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// Whether all that is left is in pieces that begin and end at multiples of `alignment` bytes, a
    /// power of two.
    pub(crate) fn is_aligned(&self, alignment: u32) -> bool {
        self.storage.iovecs.is_aligned(alignment)
    }

    /// What the next system call may take.
    #[inline]
    pub(crate) fn next(&self) -> &[iovec] {
        self.storage.iovecs.next()
    }

    /// The same to be read into.
    #[inline]
    pub(crate) fn next_mut(&mut self) -> &mut [iovec] {
        self.storage.iovecs.next_mut()
    }

    /// Skips `count` bytes that a file was written from.
    #[inline]
    pub(crate) fn written(&mut self, count: usize) {
        self.advance(count, |_, _, _| ());
    }

    /// Skips `count` bytes that a file was read into, and marks them dirty.
    #[inline]
    pub(crate) fn filled(&mut self, count: usize) {
        self.advance(count, |bitmap, offset, len| bitmap.mark_dirty(offset, len));
    }

    /// What is left of the first iovec. It has no bitmap: who copies marks what was copied.
    fn first(&self) -> Option<VolatileSlice<'_, ()>> {
        let iovec = self.next().first()?;
        // SAFETY: the iovec is (a part of) slices that are mapped for `'m`, which outlives this
        // borrow of the list; they are either volatile slices of guest memory, of which no Rust
        // reference exists, or bytes that the list has borrowed mutably for `'m`, which nobody else
        // reaches meanwhile.
        Some(unsafe { VolatileSlice::new(iovec.iov_base.cast(), iovec.iov_len) })
    }

    #[inline]
    fn advance(&mut self, count: usize, pass: impl Fn(&B, usize, usize)) {
        let mut count = count.min(self.remaining());
        self.storage.iovecs.advance(count);
        let (index, offset) = &mut self.next;
        while let Some(mark) = self.marks.get(*index).filter(|_| count > 0) {
            let len = count.min(mark.len - *offset);
            if let Some(bitmap) = &mark.bitmap {
                pass(bitmap, *offset, len);
            }
            count -= len;
            *offset += len;
            if *offset == mark.len {
                (*index, *offset) = (*index + 1, 0);
            }
        }
    }
}

impl<B> Drop for Iovecs<'_, B> {
    fn drop(&mut self) {
        self.storage.iovecs.clear();
        self.marks.clear();
        self.marks.shrink_to(KEPT);
        self.storage.put(std::mem::take(&mut self.marks));
    }
}
