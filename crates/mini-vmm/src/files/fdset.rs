//! Sets of descriptors of the same file, each opened in another mode, which a monitor has passed.
//! `/dev/fdset/N` is the one of set N whose mode is asked for.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{OFlags, fcntl_getfl};

use super::unknown_set;

/// Sets by their numbers.
#[derive(Debug, Default)]
pub struct FdSets(BTreeMap<u64, Vec<Passed>>);

/// A descriptor in a set.
#[derive(Debug)]
pub struct Passed {
    /// The descriptor.
    pub fd: OwnedFd,
    /// What the one who passed it calls it.
    pub opaque: Option<String>,
}

impl FdSets {
    /// Adds `passed` to the set `number`, or to a new one; returns its number.
    ///
    /// # Errors
    /// More descriptors than anybody needs.
    pub fn add(&mut self, number: Option<u64>, passed: Passed) -> io::Result<u64> {
        if self.0.values().map(Vec::len).sum::<usize>() >= MOST {
            return Err(io::Error::other("too many descriptors passed"));
        }
        let free = || (0..).find(|number| !self.0.contains_key(number));
        let number = number.or_else(free).unwrap_or_default();
        self.0.entry(number).or_default().push(passed);
        Ok(number)
    }

    /// Closes the descriptor `fd` of the set `number`, or all of them.
    ///
    /// # Errors
    /// A set or a descriptor that is not there.
    pub fn remove(&mut self, number: u64, fd: Option<i32>) -> io::Result<()> {
        let set = self.0.get_mut(&number).ok_or_else(unknown_set)?;
        let before = set.len();
        set.retain(|passed| fd.is_some_and(|fd| passed.fd.as_raw_fd() != fd));
        let gone = before - set.len();
        if set.is_empty() {
            self.0.remove(&number);
        }
        match gone {
            0 => Err(ErrorKind::NotFound.into()),
            _ => Ok(()),
        }
    }

    /// All sets.
    pub fn iter(&self) -> impl Iterator<Item = (&u64, &Vec<Passed>)> {
        self.0.iter()
    }

    /// Another descriptor for the one in set `number` whose mode is that of `flags`.
    pub(super) fn open(&self, number: u64, flags: OFlags) -> io::Result<OwnedFd> {
        let set = self.0.get(&number).ok_or_else(unknown_set)?;
        let mode = flags & OFlags::ACCMODE;
        let fits = |passed: &&Passed| {
            fcntl_getfl(&passed.fd).is_ok_and(|flags| flags & OFlags::ACCMODE == mode)
        };
        let fitting = set.iter().find(fits);
        let fitting = fitting.ok_or_else(|| {
            io::Error::other("no descriptor of that set is open in the mode that is wanted")
        })?;
        fitting.fd.try_clone()
    }
}

/// Descriptors in all sets together.
const MOST: usize = 256;
