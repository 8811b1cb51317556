//! Words that guest and host exchange.

use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};

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
