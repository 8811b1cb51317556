//! The slices of guest memory that one request transfers.

use std::marker::PhantomData;

use libc::iovec;
use vm_memory::VolatileSlice;
use vm_memory::bitmap::BitmapSlice;

use crate::Storage;
use crate::iovec_array::KEPT;

/// A list of slices of guest memory, to be read into or written from, and how far that got.
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

/// The dirty bitmap of one slice, from the slice's first byte on.
#[derive(Debug)]
struct Mark<B> {
    bitmap: B,
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
            bitmap: slice.bitmap().clone(),
        });
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

    /// What the next system call may take.
    pub(crate) fn next(&self) -> &[iovec] {
        self.storage.iovecs.next()
    }

    /// Skips `count` bytes that a file was written from.
    pub(crate) fn written(&mut self, count: usize) {
        self.advance(count, |_, _, _| ());
    }

    /// Skips `count` bytes that a file was read into, and marks them dirty.
    pub(crate) fn filled(&mut self, count: usize) {
        self.advance(count, |bitmap, offset, len| bitmap.mark_dirty(offset, len));
    }

    fn advance(&mut self, count: usize, pass: impl Fn(&B, usize, usize)) {
        let mut count = count.min(self.remaining());
        self.storage.iovecs.advance(count);
        let (index, offset) = &mut self.next;
        while let Some(mark) = self.marks.get(*index).filter(|_| count > 0) {
            let len = count.min(mark.len - *offset);
            pass(&mark.bitmap, *offset, len);
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
