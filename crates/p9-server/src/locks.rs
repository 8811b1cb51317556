//! Record locks of a session's clients (Tlock, Tgetlock), with the rules of POSIX: an owner's locks
//! do not conflict with one another, and a later one replaces what it covers.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::request::Lock;
use crate::{Errno, Result};

/// The locks by the qid paths of their files.
pub(crate) struct Locks {
    files: Mutex<HashMap<u64, Vec<Held>>>,
    max: usize,
}

/// A lock that is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) write: bool,
    pub(crate) start: u64,
    /// Last byte.
    pub(crate) last: u64,
    pub(crate) process: u32,
    pub(crate) client: Vec<u8>,
    /// The fid that it was taken through: it goes with that.
    fid: u32,
}

impl Locks {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            files: Mutex::default(),
            max,
        }
    }

    /// Takes or gives back a lock through `fid`. False if another owner's is in the way.
    pub(crate) fn apply(&self, file: u64, fid: u32, lock: &Lock<'_>) -> Result<bool> {
        let mut files = self.files();
        let count: usize = files.values().map(Vec::len).sum();
        let held = files.entry(file).or_default();
        let wanted = Held::new(lock, fid);
        let free = lock.kind == UNLOCK || !held.iter().any(|other| other.conflicts(&wanted));
        // Cutting the middle out of one makes two.
        let full = free && count + 2 > self.max;
        if free && !full {
            *held = replace(held, wanted, lock.kind != UNLOCK);
        }
        if held.is_empty() {
            files.remove(&file);
        }
        match full {
            true => Err(Errno::NOLCK),
            false => Ok(free),
        }
    }

    /// The first lock that is in the way of `lock`.
    pub(crate) fn in_the_way(&self, file: u64, lock: &Lock<'_>) -> Option<Held> {
        let wanted = Held::new(lock, 0);
        let files = self.files();
        let mut held = files.get(&file)?.iter();
        held.find(|other| other.conflicts(&wanted)).cloned()
    }

    /// The fid is gone, and what was locked through it is free.
    pub(crate) fn release(&self, fid: u32) {
        self.files().retain(|_, held| {
            held.retain(|lock| lock.fid != fid);
            !held.is_empty()
        });
    }

    pub(crate) fn clear(&self) {
        self.files().clear();
    }

    fn files(&self) -> MutexGuard<'_, HashMap<u64, Vec<Held>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn new(lock: &Lock<'_>, fid: u32) -> Self {
        Self {
            write: lock.kind == WRITE,
            start: lock.start,
            last: match lock.length {
                0 => u64::MAX,
                // Checked when the request was parsed.
                length => lock.start.saturating_add(length - 1),
            },
            process: lock.process,
            client: lock.client.to_vec(),
            fid,
        }
    }

    /// Its length, as requests have it: 0 means to the end.
    pub(crate) fn length(&self) -> u64 {
        match self.last {
            u64::MAX => 0,
            last => last - self.start + 1,
        }
    }

    fn conflicts(&self, other: &Self) -> bool {
        !self.same_owner(other) && (self.write || other.write) && self.overlaps(other)
    }

    fn same_owner(&self, other: &Self) -> bool {
        (self.process, &self.client) == (other.process, &other.client)
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.start <= other.last && other.start <= self.last
    }
}

/// `held` where the owner of `wanted` has exactly that in its range, or nothing.
fn replace(held: &[Held], wanted: Held, keep: bool) -> Vec<Held> {
    let mut locks = Vec::with_capacity(held.len() + 2);
    for lock in held {
        if !lock.same_owner(&wanted) || !lock.overlaps(&wanted) {
            locks.push(lock.clone());
            continue;
        }
        if lock.start < wanted.start {
            let last = wanted.start - 1;
            locks.push(Held {
                last,
                ..lock.clone()
            });
        }
        if lock.last > wanted.last {
            let start = wanted.last + 1;
            locks.push(Held {
                start,
                ..lock.clone()
            });
        }
    }
    if keep {
        locks.push(wanted);
    }
    locks
}

/// P9_LOCK_TYPE_WRLCK and P9_LOCK_TYPE_UNLCK.
const WRITE: u8 = 1;
pub(crate) const UNLOCK: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn lock(kind: u8, start: u64, length: u64, process: u32) -> Lock<'static> {
        Lock {
            kind,
            start,
            length,
            process,
            client: b"guest",
        }
    }

    #[test]
    fn owners_exclude_one_another_and_not_themselves() {
        let locks = Locks::new(100);
        assert_eq!(locks.apply(1, 5, &lock(1, 0, 10, 1)), Ok(true));
        assert_eq!(locks.apply(1, 6, &lock(0, 9, 1, 2)), Ok(false));
        assert_eq!(locks.apply(1, 6, &lock(0, 10, 1, 2)), Ok(true));
        assert_eq!(locks.apply(1, 5, &lock(0, 0, 10, 1)), Ok(true));
        assert_eq!(locks.apply(1, 6, &lock(0, 9, 1, 2)), Ok(true));
        assert_eq!(locks.apply(1, 6, &lock(1, 9, 1, 2)), Ok(false));
        let found = locks.in_the_way(1, &lock(1, 5, 0, 2)).unwrap();
        assert_eq!((found.start, found.length(), found.process), (0, 10, 1));
    }

    #[test]
    fn a_hole_leaves_both_sides() {
        let locks = Locks::new(100);
        assert_eq!(locks.apply(1, 5, &lock(1, 0, 0, 1)), Ok(true));
        assert_eq!(locks.apply(1, 5, &lock(2, 10, 10, 1)), Ok(true));
        let other = |start, length| locks.in_the_way(1, &lock(0, start, length, 2));
        assert_eq!(other(10, 10), None);
        assert_eq!(other(9, 1).unwrap().length(), 10);
        assert_eq!(other(20, 1).unwrap().length(), 0);
    }

    #[test]
    fn bug_75_locks_are_bounded_and_go_with_their_fid() {
        let locks = Locks::new(8);
        let taken = (0..100).take_while(|n| locks.apply(*n, 5, &lock(1, 0, 1, 1)) == Ok(true));
        assert_eq!(taken.count(), 7);
        assert_eq!(locks.apply(99, 6, &lock(1, 0, 1, 1)), Err(Errno::NOLCK));
        locks.release(5);
        assert_eq!(locks.apply(99, 6, &lock(1, 0, 1, 1)), Ok(true));
        assert_eq!(locks.files().len(), 1);
    }
}
