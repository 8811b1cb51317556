//! The fids of a session.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::numbers::Numbers;
use crate::request::FidNumber;
use crate::session::{Listing, XattrPermit};
use crate::{Errno, FileSystem, Result, XattrFlags};

/// What a fid stands for.
pub(crate) struct Fid<F: FileSystem> {
    pub(crate) node: Arc<F::Node>,
    /// Who attached, and so owns what is made through it; `None` for nobody in particular.
    pub(crate) uid: Option<u32>,
    pub(crate) state: State<F>,
}

/// What was done with a fid. It is decided once: each fid is replaced as a whole, so that a
/// request that works on one is not disturbed by another that opens or clunks it.
pub(crate) enum State<F: FileSystem> {
    /// A file that may be walked from, and opened.
    Walked,
    Open(Open<F>),
    /// The value of an extended attribute, or the list of names.
    XattrRead(XattrRead),
    XattrWrite(XattrWrite),
}

/// A file that is open.
pub(crate) struct Open<F: FileSystem> {
    pub(crate) file: F::File,
    /// Of a directory, how far Tread has come with it.
    pub(crate) listing: Option<Mutex<Listing>>,
}

/// A value as it was when the fid was made.
pub(crate) struct XattrRead {
    pub(crate) value: Vec<u8>,
    pub(crate) _permit: XattrPermit,
}

/// A value on its way to an extended attribute, which is set when the fid is clunked.
pub(crate) struct XattrWrite {
    pub(crate) name: Vec<u8>,
    pub(crate) flags: XattrFlags,
    pub(crate) size: usize,
    pub(crate) value: Mutex<Vec<u8>>,
    pub(crate) _permit: XattrPermit,
}

type Table<F> = HashMap<FidNumber, Arc<Fid<F>>, Numbers>;

/// The fids by their numbers.
pub(crate) struct Fids<F: FileSystem> {
    table: Mutex<Table<F>>,
    max: usize,
}

impl<F: FileSystem> Fids<F> {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            table: Mutex::new(HashMap::with_hasher(Numbers::new())),
            max,
        }
    }

    pub(crate) fn find(&self, number: FidNumber) -> Result<Arc<Fid<F>>> {
        self.table().get(&number).cloned().ok_or(Errno::NOENT)
    }

    /// Adds a fid whose number is not in use.
    pub(crate) fn add(&self, number: FidNumber, fid: Fid<F>) -> Result<()> {
        let mut table = self.table();
        if number == NO_FID || table.contains_key(&number) {
            return Err(Errno::INVAL);
        }
        if table.len() >= self.max {
            return Err(Errno::NFILE);
        }
        table.insert(number, Arc::new(fid));
        Ok(())
    }

    /// Whether a fid could be added, before work is done for it.
    pub(crate) fn check_free(&self, number: FidNumber) -> Result<()> {
        let table = self.table();
        match (number == NO_FID || table.contains_key(&number), table.len()) {
            (true, _) => Err(Errno::INVAL),
            (false, len) if len >= self.max => Err(Errno::NFILE),
            (false, _) => Ok(()),
        }
    }

    /// Puts `fid` in the place of `old`, if that is still there.
    pub(crate) fn replace(&self, number: FidNumber, old: &Arc<Fid<F>>, fid: Fid<F>) -> Result<()> {
        let mut table = self.table();
        let slot = table.get_mut(&number).filter(|now| Arc::ptr_eq(now, old));
        *slot.ok_or(Errno::INVAL)? = Arc::new(fid);
        Ok(())
    }

    pub(crate) fn remove(&self, number: FidNumber) -> Result<Arc<Fid<F>>> {
        self.table().remove(&number).ok_or(Errno::NOENT)
    }

    pub(crate) fn clear(&self) {
        // Dropped outside of the lock.
        let mut table = self.table();
        let old: Vec<_> = table.drain().collect();
        drop(table);
        drop(old);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.table().is_empty()
    }

    fn table(&self) -> MutexGuard<'_, Table<F>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: FileSystem> Fid<F> {
    /// A fid of `node`, not open.
    pub(crate) fn walked(node: Arc<F::Node>, uid: Option<u32>) -> Self {
        Self {
            node,
            uid,
            state: State::Walked,
        }
    }

    /// The open file; an error for every other kind of fid.
    pub(crate) fn file(&self) -> Result<&F::File> {
        match &self.state {
            State::Open(open) => Ok(&open.file),
            _ => Err(Errno::BADF),
        }
    }

    /// Its file, where it stands for one and not for an extended attribute of one.
    pub(crate) fn node(&self) -> Result<&Arc<F::Node>> {
        match &self.state {
            State::Walked | State::Open(_) => Ok(&self.node),
            State::XattrRead(..) | State::XattrWrite(..) => Err(Errno::INVAL),
        }
    }

    /// Its file, where it may be opened or walked from.
    pub(crate) fn unopened(&self) -> Result<&Arc<F::Node>> {
        match &self.state {
            State::Walked => Ok(&self.node),
            _ => Err(Errno::INVAL),
        }
    }
}

/// No number of a fid.
const NO_FID: FidNumber = u32::MAX;
