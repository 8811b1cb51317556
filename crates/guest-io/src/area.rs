//! Guest memory that is resolved once and then accessed by offset, as cheaply as host memory.

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, Ordering};

use vm_memory::VolatileSlice;
use vm_memory::bitmap::BitmapSlice;

use crate::{Array, Word};

/// A run of guest memory with a fixed place in host memory: an area of a ring, or a whole region.
///
/// vm-memory checks, in each of several nested calls, what this type knows: that the run is mapped
/// for `'m` and starts at a multiple of `ALIGN` bytes. What is left per access is one comparison
/// with the length, inlined at every optimisation level, and every access is a single atomic one,
/// so that an index or a descriptor word can never be seen torn.
#[derive(Clone, Debug)]
pub struct Area<'m, B, const ALIGN: usize = 1> {
    base: NonNull<u8>,
    len: usize,
    bitmap: B,
    memory: PhantomData<&'m ()>,
}

impl<'m, B: BitmapSlice, const ALIGN: usize> Area<'m, B, ALIGN> {
    /// The area that `slice` covers; `None` where that is not aligned in host memory.
    #[inline]
    pub fn new(slice: &VolatileSlice<'m, B>) -> Option<Self> {
        let base = NonNull::new(slice.ptr_guard_mut().as_ptr())?;
        let (len, bitmap) = (slice.len(), slice.bitmap().clone());
        base.addr().get().is_multiple_of(ALIGN).then_some(Self {
            base,
            len,
            bitmap,
            memory: PhantomData,
        })
    }

    /// Length in bytes.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no bytes.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Loads the word at byte `offset`, in guest byte order; `None` where it is not inside or the
    /// offset not a multiple of the word's size.
    ///
    /// # Panics
    /// Where `order` is not one of a load.
    #[inline(always)]
    pub fn load<T: Word>(&self, offset: usize, order: Ordering) -> Option<T> {
        // SAFETY: `at` returns pointers that are inside the area, which is mapped for `'m`, and
        // aligned for `T`, because area and offset are. The guest may write there at any time; the access is atomic.
        self.at::<T>(offset)
            .map(|at| unsafe { T::load(at.as_ptr(), order) })
    }

    /// Stores a word at byte `offset`, in guest byte order, and marks it dirty; `None` where it is
    /// not inside or the offset not a multiple of the word's size.
    ///
    /// # Panics
    /// Where `order` is not one of a store.
    #[inline(always)]
    pub fn store<T: Word>(&self, offset: usize, value: T, order: Ordering) -> Option<()> {
        let at = self.at::<T>(offset)?;
        // SAFETY: as in `load`. Nothing in this process holds a reference to guest memory.
        unsafe { T::store(at.as_ptr(), value, order) };
        self.bitmap.mark_dirty(offset, size_of::<T>());
        Some(())
    }

    /// Sets `bits` of the byte at `offset`, in one step with respect to every other access, and
    /// marks it dirty: an indicator that the guest clears as it goes. Returns the byte as it was;
    /// `None` where it is not inside.
    pub fn set_bits(&self, offset: usize, bits: u8) -> Option<u8> {
        let at = self.at::<u8>(offset)?;
        // SAFETY: as in `load`; a byte is always aligned.
        let before = unsafe { AtomicU8::from_ptr(at.as_ptr()) }.fetch_or(bits, Ordering::SeqCst);
        self.bitmap.mark_dirty(offset, 1);
        Some(before)
    }

    /// The `len` bytes from `offset` on; `None` where they are not all inside.
    #[inline(always)]
    pub fn slice(&self, offset: usize, len: usize) -> Option<VolatileSlice<'m, B>> {
        if !self.contains(offset, len) {
            return None;
        }
        let bitmap = self.bitmap.slice_at(offset);
        // SAFETY: the bytes are inside the area, which is mapped for `'m`, and everything that
        // reaches them does so by volatile or atomic accesses, as it did in the slice that the
        // area was made of.
        Some(unsafe {
            VolatileSlice::with_bitmap(self.base.as_ptr().add(offset), len, bitmap, None)
        })
    }

    /// The `len` entries from byte `offset` on; `None` where they are not all inside, there are
    /// none, or the offset is not a multiple of the word's size.
    #[inline(always)]
    pub fn array<T: Word, const N: usize>(
        &self,
        offset: usize,
        len: u32,
    ) -> Option<Array<'m, B, T, N>> {
        let bytes = (len as usize).checked_mul(size_of::<[T; N]>())?;
        if len == 0 || !self.contains(offset, bytes) {
            return None;
        }
        let base = self.at::<T>(offset)?.cast();
        // SAFETY: the bytes are inside the area, which is mapped for `'m`, and `base` is aligned.
        Some(unsafe { Array::from_raw(base, len, self.bitmap.slice_at(offset)) })
    }

    #[inline(always)]
    fn contains(&self, offset: usize, len: usize) -> bool {
        offset.checked_add(len).is_some_and(|end| end <= self.len)
    }

    #[inline(always)]
    fn at<T>(&self, offset: usize) -> Option<NonNull<T>> {
        const {
            assert!(
                align_of::<T>() <= ALIGN,
                "the area is aligned for its words"
            )
        };
        if !self.contains(offset, size_of::<T>()) || !offset.is_multiple_of(align_of::<T>()) {
            return None;
        }
        // SAFETY: the byte at `offset` is inside the area.
        Some(unsafe { self.base.add(offset) }.cast())
    }
}
