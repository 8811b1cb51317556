//! A guard at a fixed place.

use std::ptr::NonNull;

/// A heap cell that holds a guard to guest memory while the kernel uses that memory.
///
/// Memory reached through a guard is only good as long as the guard is neither dropped, nor moved
/// (it may contain what it points to), nor borrowed mutably. In the cell it is none of that,
/// wherever the anchor itself goes. The cell is allocated once and used for one guard after the
/// other.
#[derive(Debug)]
pub(crate) struct Anchor<G> {
    cell: NonNull<Option<G>>,
}

// SAFETY: The anchor owns the guard and is the only way to it, as a `Box` would be.
unsafe impl<G: Send> Send for Anchor<G> {}

// SAFETY: A shared reference to the anchor gives a shared reference to the guard and nothing more.
unsafe impl<G: Sync> Sync for Anchor<G> {}

impl<G> Anchor<G> {
    /// An anchor that holds nothing yet.
    pub(crate) fn new() -> Self {
        Self {
            cell: NonNull::from(Box::leak(Box::new(None))),
        }
    }

    /// Holds `guard` from now on, in place of the one before.
    pub(crate) fn hold(&mut self, guard: G) -> &G {
        // SAFETY: The cell is ours until `drop`, and `&mut self` says that no reference that
        // `guard` returned is left.
        unsafe { self.cell.as_mut() }.insert(guard)
    }

    /// The guard, if one is held.
    pub(crate) fn guard(&self) -> Option<&G> {
        // SAFETY: The cell is ours until `drop`; a mutable reference to it is only made by methods
        // that take `&mut self`, and none of them keeps it.
        unsafe { self.cell.as_ref() }.as_ref()
    }

    /// Drops the guard.
    pub(crate) fn release(&mut self) {
        // SAFETY: As in `hold`.
        *unsafe { self.cell.as_mut() } = None;
    }
}

impl<G> Drop for Anchor<G> {
    fn drop(&mut self) {
        // SAFETY: The cell was made from a box in `new`, is given up here and nowhere else.
        drop(unsafe { Box::from_raw(self.cell.as_ptr()) });
    }
}
