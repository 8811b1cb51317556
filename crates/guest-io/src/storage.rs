//! Heap memory that outlives the borrows which are kept in it.

use std::alloc::{Layout, dealloc};
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use crate::iovec_array::IovecArray;

/// What an [`Iovecs`](crate::Iovecs) keeps its lists in: one per worker, used again by every
/// request, so that a request costs no heap once the longest one was seen.
///
/// It holds no guest memory between requests, and so can be kept, and sent to other threads,
/// without regard to any memory map.
#[derive(Debug, Default)]
pub struct Storage {
    pub(crate) iovecs: IovecArray,
    marks: Option<Spare>,
}

impl Storage {
    /// Storage that will grow as requests need it.
    pub fn new() -> Self {
        Self::default()
    }

    /// The spare vector, if its elements had the layout of `T`; an empty one else.
    pub(crate) fn take<T>(&mut self) -> Vec<T> {
        self.marks
            .take()
            .and_then(Spare::into_vec)
            .unwrap_or_default()
    }

    /// Keeps the memory of `vec` for the next request; its elements are dropped.
    pub(crate) fn put<T>(&mut self, vec: Vec<T>) {
        self.marks = Spare::new(vec);
    }
}

/// The memory of an empty vector, whatever the type of its elements was.
///
/// The element type holds a borrow that differs from one request to the next, so no field can
/// have the vector's type.
#[derive(Debug)]
struct Spare {
    memory: NonNull<u8>,
    element: Layout,
    capacity: usize,
}

// SAFETY: It owns uninitialised heap memory and nothing else, which any thread may use or free.
unsafe impl Send for Spare {}

// SAFETY: As above; a shared reference gives no access to that memory.
unsafe impl Sync for Spare {}

impl Spare {
    fn new<T>(mut vec: Vec<T>) -> Option<Self> {
        vec.clear();
        let allocated = vec.capacity() > 0 && size_of::<T>() > 0;
        allocated.then(|| {
            let mut vec = ManuallyDrop::new(vec);
            Self {
                // SAFETY: The pointer of a vector is never null.
                memory: unsafe { NonNull::new_unchecked(vec.as_mut_ptr().cast()) },
                element: Layout::new::<T>(),
                capacity: vec.capacity(),
            }
        })
    }

    fn into_vec<T>(self) -> Option<Vec<T>> {
        if self.element != Layout::new::<T>() {
            return None;
        }
        let spare = ManuallyDrop::new(self);
        // SAFETY: The memory came from a vector of this capacity whose elements had the same size
        // and alignment, so it has the layout that a `Vec<T>` of it frees. It is owned by `spare`,
        // which is not dropped, and no element of it counts as initialised.
        Some(unsafe { Vec::from_raw_parts(spare.memory.as_ptr().cast(), 0, spare.capacity) })
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        let size = self.element.size() * self.capacity;
        if let Ok(layout) = Layout::from_size_align(size, self.element.align()) {
            // SAFETY: A vector of `capacity` elements of this layout allocated the memory with
            // the layout of the array of them, which this is, by the same global allocator; its
            // size was computed once then and did not overflow.
            unsafe { dealloc(self.memory.as_ptr(), layout) };
        }
    }
}
