//! A disk, as throttle groups know it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::ThrottleGroup;

/// The membership of a disk in a [`ThrottleGroup`], or in none, which may change at any time.
#[derive(Debug, Default)]
pub struct ThrottleMember {
    group: Mutex<Option<Arc<ThrottleGroup>>>,
    /// Changes with the group.
    generation: AtomicU32,
}

impl ThrottleMember {
    /// Of a disk that is in no group.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts the disk into `group`, or none. What waits in another group waits there no more.
    pub fn join(&self, group: Option<Arc<ThrottleGroup>>) {
        let old = std::mem::replace(&mut *self.lock(), group);
        self.generation.fetch_add(1, Ordering::Release);
        if let Some(old) = old {
            old.wake(self);
        }
    }

    /// The group that it is in.
    pub fn group(&self) -> Option<Arc<ThrottleGroup>> {
        self.lock().clone()
    }

    #[inline]
    pub(super) fn generation(&self) -> u32 {
        self.generation.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<ThrottleGroup>>> {
        self.group.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
