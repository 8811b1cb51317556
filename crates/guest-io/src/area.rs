//! Guest memory that is resolved once and then accessed by offset, as cheaply as host memory.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};

use vm_memory::VolatileSlice;
use vm_memory::bitmap::BitmapSlice;

/// A run of guest memory with a fixed place in host memory: a ring, or a whole region.
///
/// vm-memory checks, in each of several nested calls, what this type knows: that the run is mapped
/// for `'m` and starts at a multiple of `ALIGN` bytes. What is left per access is one comparison
/// with the length, inlined at every optimisation level, and every access is a single atomic one,
/// so that an index or a descriptor word can never be seen torn.
#[derive(Clone, Debug)]
pub struct Area<'m, B, const ALIGN: usize = 1> {
    base: *mut u8,
    len: usize,
    bitmap: B,
    memory: PhantomData<&'m ()>,
}

impl<'m, B: BitmapSlice, const ALIGN: usize> Area<'m, B, ALIGN> {
    /// The area that `slice` covers; `None` where that is not aligned in host memory.
    #[inline]
    pub fn new(slice: &VolatileSlice<'m, B>) -> Option<Self> {
        let base = slice.ptr_guard_mut().as_ptr();
        let (len, bitmap) = (slice.len(), slice.bitmap().clone());
        let aligned = (base as usize).is_multiple_of(ALIGN);
        aligned.then_some(Self {
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
        self.at::<T>(offset).map(|at| unsafe { T::load(at, order) })
    }

    /// Loads two words that follow one another, the second one first: where that one says whether
    /// the first is valid, and `order` is `Acquire`, what the pair says belongs together.
    ///
    /// # Panics
    /// Where `order` is not one of a load.
    #[inline(always)]
    pub fn load_pair<T: Word>(&self, offset: usize, order: Ordering) -> Option<(T, T)> {
        let first = self.at::<[T; 2]>(offset)?.cast::<T>();
        // SAFETY: as in `load`, for both words: `at` looked at their common length, and an array
        // is aligned as its elements are.
        unsafe {
            let second = T::load(first.add(1), order);
            Some((T::load(first, Ordering::Relaxed), second))
        }
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
        unsafe { T::store(at, value, order) };
        self.bitmap.mark_dirty(offset, size_of::<T>());
        Some(())
    }

    /// Stores two words that follow one another, as [`store`](Self::store) does, the second one
    /// last.
    ///
    /// # Panics
    /// Where `order` is not one of a store.
    #[inline(always)]
    pub fn store_pair<T: Word>(&self, offset: usize, pair: (T, T), order: Ordering) -> Option<()> {
        let first = self.at::<[T; 2]>(offset)?.cast::<T>();
        // SAFETY: as in `load_pair`.
        unsafe {
            T::store(first, pair.0, Ordering::Relaxed);
            T::store(first.add(1), pair.1, order);
        }
        self.bitmap.mark_dirty(offset, 2 * size_of::<T>());
        Some(())
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
        Some(unsafe { VolatileSlice::with_bitmap(self.base.add(offset), len, bitmap, None) })
    }

    #[inline(always)]
    fn contains(&self, offset: usize, len: usize) -> bool {
        offset.checked_add(len).is_some_and(|end| end <= self.len)
    }

    #[inline(always)]
    fn at<T>(&self, offset: usize) -> Option<*mut T> {
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

/// A word that guest and host exchange: `u16`, `u32` or `u64`.
pub trait Word: Copy + sealed::Sealed {
    /// Loads atomically.
    ///
    /// # Safety
    /// `at` is aligned and mapped.
    #[doc(hidden)]
    unsafe fn load(at: *mut Self, order: Ordering) -> Self;

    /// Stores atomically.
    ///
    /// # Safety
    /// `at` is aligned and mapped.
    #[doc(hidden)]
    unsafe fn store(at: *mut Self, value: Self, order: Ordering);
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! word {
    ($($word:ty => $atomic:ty),*) => { $(
        impl sealed::Sealed for $word {}

        impl Word for $word {
            #[inline(always)]
            unsafe fn load(at: *mut Self, order: Ordering) -> Self {
                // SAFETY: the caller vouches for alignment and mapping; the guest's own accesses
                // are outside this process.
                unsafe { <$atomic>::from_ptr(at) }.load(order)
            }

            #[inline(always)]
            unsafe fn store(at: *mut Self, value: Self, order: Ordering) {
                // SAFETY: as above.
                unsafe { <$atomic>::from_ptr(at) }.store(value, order);
            }
        }
    )* };
}

word!(u16 => AtomicU16, u32 => AtomicU32, u64 => AtomicU64);
