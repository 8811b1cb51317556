//! An array in guest memory that is resolved once and then accessed by index.

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::Ordering;

use vm_memory::bitmap::BitmapSlice;

use crate::Word;

/// Guest memory as an array of entries of `N` words each: a descriptor table, or the ring in an
/// available or used ring.
///
/// As with an [`Area`](crate::Area), every access is atomic, word by word, and what was checked
/// when the array was made is not checked again. An entry costs one comparison of its index, or
/// none where the array is used as a ring and the index wraps around at its end.
#[derive(Clone, Debug)]
pub struct Array<'m, B, T, const N: usize = 1> {
    base: NonNull<[T; N]>,
    /// Index of the last entry: there is one, and it is the mask of a ring.
    last: u32,
    bitmap: B,
    memory: PhantomData<&'m ()>,
}

impl<'m, B: BitmapSlice, T: Word, const N: usize> Array<'m, B, T, N> {
    /// # Safety
    /// `len` entries from `base` on, at least one, are mapped for `'m`; `base` is aligned for `T`.
    #[inline(always)]
    pub(crate) unsafe fn from_raw(base: NonNull<[T; N]>, len: u32, bitmap: B) -> Self {
        Self {
            base,
            last: len - 1,
            bitmap,
            memory: PhantomData,
        }
    }

    /// Number of entries, from 1 on.
    #[allow(clippy::len_without_is_empty, reason = "it is never empty")]
    #[inline(always)]
    pub fn len(&self) -> u32 {
        self.last + 1
    }

    /// Loads entry `index`, in guest byte order; `None` past the end.
    ///
    /// Its last word is loaded first, and with `order`: where that word says whether the others
    /// are valid, and `order` is `Acquire`, what the entry says belongs together.
    ///
    /// # Panics
    /// Where `order` is not one of a load.
    #[inline(always)]
    pub fn load(&self, index: u32, order: Ordering) -> Option<[T; N]> {
        // SAFETY: the entry is there.
        (index <= self.last).then(|| unsafe { load_entry(self.entry(index), order) })
    }

    /// Loads entry `index` of an array that is a ring: its length is a power of two, and the
    /// entry after the last is the first. Otherwise as [`load`](Self::load).
    ///
    /// # Panics
    /// Where `order` is not one of a load.
    #[inline(always)]
    pub fn load_wrapping(&self, index: u32, order: Ordering) -> [T; N] {
        // SAFETY: `wrap` returns indices of entries that are there.
        unsafe { load_entry(self.entry(self.wrap(index)), order) }
    }

    /// The entries from `index` on, in order, each with one of `slots`, until either has no more.
    ///
    /// They are loaded as [`load`](Self::load) does, when the iterator comes to them. What bounds
    /// them is looked at once, so that the next one costs a single comparison.
    ///
    /// # Panics
    /// At the first entry, where `order` is not one of a load.
    #[inline(always)]
    pub fn zip_from<'s, S>(
        &self,
        index: u32,
        slots: &'s mut [S],
        order: Ordering,
    ) -> Entries<'_, 's, T, S, N> {
        let there = self.len().saturating_sub(index) as usize;
        let count = there.min(slots.len());
        Entries {
            next: self.base.as_ptr().wrapping_add(index as usize),
            slots: slots[..count].iter_mut(),
            order,
            memory: PhantomData,
        }
    }

    /// Stores entry `index` of an array that is a ring, and marks it dirty. Its last word is
    /// stored last, and with `order`.
    ///
    /// # Panics
    /// Where `order` is not one of a store.
    #[inline(always)]
    pub fn store_wrapping(&self, index: u32, entry: [T; N], order: Ordering) {
        let index = self.wrap(index);
        for (at, &word) in entry.iter().enumerate() {
            let order = if at + 1 == N {
                order
            } else {
                Ordering::Relaxed
            };
            // SAFETY: `wrap` returns indices of entries that are there, and `at` is below `N`.
            unsafe { T::store(self.word(index, at), word, order) };
        }
        let size = size_of::<[T; N]>();
        self.bitmap.mark_dirty(index as usize * size, size);
    }

    /// Stores the last word of entry `index` alone, and marks it dirty; `None` past the end.
    ///
    /// # Panics
    /// Where `order` is not one of a store.
    #[inline(always)]
    pub fn store_last(&self, index: u32, word: T, order: Ordering) -> Option<()> {
        if index > self.last {
            return None;
        }
        // SAFETY: the entry is there.
        unsafe { T::store(self.word(index, N - 1), word, order) };
        let end = (index as usize + 1) * size_of::<[T; N]>();
        self.bitmap.mark_dirty(end - size_of::<T>(), size_of::<T>());
        Some(())
    }

    /// The index of an entry that is there: clearing bits of an index gives none that is larger
    /// than the mask. (It is the wrapped index where the length is a
    /// power of two.)
    #[inline(always)]
    fn wrap(&self, index: u32) -> u32 {
        index & self.last
    }

    /// Word `at` of entry `index`: mapped for `'m`, and aligned as the array and with it all its
    /// words are.
    ///
    /// # Safety
    /// `index` is below the length and `at` below `N`.
    #[inline(always)]
    unsafe fn word(&self, index: u32, at: usize) -> *mut T {
        // SAFETY: the entry has that many words.
        unsafe { self.entry(index).cast::<T>().add(at) }
    }

    /// # Safety
    /// `index` is below the length.
    #[inline(always)]
    unsafe fn entry(&self, index: u32) -> *mut [T; N] {
        // SAFETY: the array has that many entries.
        unsafe { self.base.as_ptr().add(index as usize) }
    }
}

/// Entries of an [`Array`], each with a slot for what becomes of it.
#[derive(Debug)]
pub struct Entries<'a, 's, T, S, const N: usize> {
    /// The entry that goes with the first of the slots, if there is one: at most as many slots
    /// are left as entries, which are mapped for `'a` and aligned for `T`.
    next: *mut [T; N],
    slots: slice::IterMut<'s, S>,
    order: Ordering,
    memory: PhantomData<&'a ()>,
}

impl<'s, T: Word, S, const N: usize> Iterator for Entries<'_, 's, T, S, N> {
    type Item = (&'s mut S, [T; N]);

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        let slot = self.slots.next()?;
        // SAFETY: there was a slot, so there is an entry.
        let entry = unsafe { load_entry(self.next, self.order) };
        self.next = self.next.wrapping_add(1);
        Some((slot, entry))
    }
}

/// Its last word first, with `order`.
///
/// # Safety
/// `entry` is mapped, and aligned for `T`.
#[inline(always)]
unsafe fn load_entry<T: Word, const N: usize>(entry: *mut [T; N], order: Ordering) -> [T; N] {
    let words = entry.cast::<T>();
    // SAFETY: the caller vouches for the entry, and the numbers of words are below `N`. The guest
    // may write there at any time; each access is atomic.
    unsafe {
        let mut loaded = [T::load(words.add(N - 1), order); N];
        for (at, word) in loaded.iter_mut().enumerate().take(N - 1) {
            *word = T::load(words.add(at), Ordering::Relaxed);
        }
        loaded
    }
}
