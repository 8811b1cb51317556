//! Directories that are read by Tread, as stat records (9P2000.u).

use std::sync::{Arc, PoisonError};

use super::Session;
use crate::dialect::Dialect;
use crate::fid::Open;
use crate::qid::{S_IFLNK, S_IFMT};
use crate::stat::{Record, extension};
use crate::{Errno, FileSystem, Name, Payload, Result};

/// How far a directory was read. A client goes on where it has got to, reads what it was given last
/// once more, or begins anew: other places are none.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    last: Place,
    next: Place,
}

/// A place in a directory: as the client counts, in bytes of records, and as the host does.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    bytes: u64,
    entry: u64,
}

impl<F: FileSystem> Session<F> {
    /// Whether reading this gives records.
    pub(super) fn reads_records(&self, open: &Open<F>) -> bool {
        open.listing.is_some() && self.agreement.dialect() == Dialect::Unix
    }

    /// Gives as many records as there is room for.
    pub(super) fn read_records(
        &self,
        directory: &Arc<F::Node>,
        open: &Open<F>,
        (offset, count): (u64, u32),
        payload: &mut impl Payload,
    ) -> Result<u32> {
        let listing = open.listing.as_ref().ok_or(Errno::BADF)?;
        let mut listing = listing.lock().unwrap_or_else(PoisonError::into_inner);
        let place = listing.place(offset)?;
        let mut records = Records {
            bytes: Vec::new(),
            room: (count as usize).min(RECORDS_MAX),
            next: place.entry,
            end: Ok(()),
        };
        self.fs
            .read_directory(&open.file, place.entry, &mut |entry| {
                let record = self.entry_record(directory, entry.name);
                records.take(record, entry.next)
            })?;
        let Records { bytes, next, .. } = records.ended()?;
        payload.put(&bytes)?;
        listing.went(place, bytes.len() as u64, next);
        Ok(bytes.len() as u32)
    }

    /// The record of an entry; `None` if that is gone or not to be shown.
    fn entry_record<'n>(
        &self,
        directory: &Arc<F::Node>,
        name: &'n [u8],
    ) -> Result<Option<Record<'n>>> {
        let found = match name {
            b"." => Ok(Arc::clone(directory)),
            b".." => Ok(self.fs.parent(directory)),
            name => Name::new(name)
                .and_then(|name| self.fs.lookup(directory, name))
                .map(|found| found.node),
        };
        match found.and_then(|node| self.record(&node, name)) {
            Ok(record) => Ok(Some(record)),
            Err(Errno::NOENT | Errno::NODEV) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    pub(super) fn record<'n>(&self, node: &F::Node, name: &'n [u8]) -> Result<Record<'n>> {
        let attributes = self.fs.attributes(node)?;
        let extension = match attributes.mode & S_IFMT {
            S_IFLNK => self.fs.read_link(node)?,
            _ => extension(&attributes),
        };
        Ok(Record {
            name,
            attributes,
            extension,
        })
    }
}

impl Listing {
    fn place(&self, bytes: u64) -> Result<Place> {
        let mut places = [Place::default(), self.next, self.last].into_iter();
        places
            .find(|place| place.bytes == bytes)
            .ok_or(Errno::INVAL)
    }

    fn went(&mut self, from: Place, len: u64, entry: u64) {
        let bytes = from.bytes.saturating_add(len);
        (self.last, self.next) = (from, Place { bytes, entry });
    }
}

/// Records on their way into a reply.
struct Records {
    bytes: Vec<u8>,
    room: usize,
    /// The host's place after them.
    next: u64,
    /// Why there are no more, if not because that was all.
    end: Result<()>,
}

impl Records {
    /// Adds a record, whose entry the one at `next` comes after. False if there is no room for it.
    fn take(&mut self, record: Result<Option<Record<'_>>>, next: u64) -> bool {
        self.end = match record {
            // Nothing at all would mean the end.
            Ok(Some(record)) if self.bytes.len() + record.len() > self.room => Err(Errno::INVAL),
            Ok(record) => {
                self.next = next;
                record.iter().for_each(|record| record.put(&mut self.bytes));
                Ok(())
            }
            Err(errno) => Err(errno),
        };
        self.end.is_ok()
    }

    /// An error is told only if there is nothing else.
    fn ended(self) -> Result<Self> {
        match self.bytes.is_empty() {
            true => self.end.map(|()| self),
            false => Ok(self),
        }
    }
}

/// Bytes of records in one reply at most: each is a file that is looked up.
const RECORDS_MAX: usize = 64 << 10;
