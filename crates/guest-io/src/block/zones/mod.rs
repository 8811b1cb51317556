//! A disk in zones, each of which is written from its beginning to its end: host-managed zones as
//! zoned block devices have them, on storage that knows nothing of it.
//!
//! [`Zones`] says of each write where it goes and whether it may, of each read how much there is to
//! be read, and leaves the transfers to others. How far each zone is written outlives the process
//! where there is a file for that.

mod record;
mod table;

use std::fs::File;
use std::io::{self, ErrorKind};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::FileRange;
use record::Record;
use table::Table;

/// How a disk is divided into zones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZoneLayout {
    /// Bytes from one zone to the next: a power of two, at least 512.
    pub size: u64,
    /// Bytes of a zone that can be written: whole sectors, at most `size`.
    pub capacity: u64,
    /// So many zones, the first ones, are conventional: written anywhere, at any time.
    pub conventional: u32,
    /// Zones that can be open at a time; 0: no limit.
    pub max_open: u32,
    /// Zones that can be open or closed, thus neither empty nor full, at a time; 0: no limit.
    pub max_active: u32,
}

/// One zone, now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zone {
    /// Its first byte.
    pub start: u64,
    /// Bytes of it that can be written.
    pub capacity: u64,
    /// Where the next write goes. It means nothing in conventional and full zones.
    pub write_pointer: u64,
    /// What it is in.
    pub state: ZoneState,
}

/// The state of a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ZoneState {
    /// Conventional: it has no write pointer.
    NotWritePointer = 0,
    /// Nothing is written.
    Empty = 1,
    /// Opened by a write.
    ImplicitlyOpen = 2,
    /// Opened by [`ZoneAction::Open`].
    ExplicitlyOpen = 3,
    /// Written in part, and not open.
    Closed = 4,
    /// It takes no more writes.
    Full = 14,
}

/// What can be done to a sequential zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZoneAction {
    /// Opens it explicitly: it stays open until it is full, or closed or reset by an action.
    Open,
    /// Closes it.
    Close,
    /// Makes it full, however much of it is written.
    Finish,
    /// Makes it empty.
    Reset,
}

/// Why a zone was not written, or nothing was done to it. Nothing has changed then, unless it is
/// [`Record`](Self::Record).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ZoneError {
    /// It cannot be done to this zone, in this state, to this range.
    #[error("not possible with this zone")]
    Invalid,
    /// A write that does not begin at the write pointer.
    #[error("not at the write pointer")]
    Unaligned,
    /// There would be too many open zones.
    #[error("too many open zones")]
    OpenLimit,
    /// There would be too many active zones.
    #[error("too many active zones")]
    ActiveLimit,
    /// The host could not store it.
    #[error("zones are not recorded: {0}")]
    Record(#[from] io::Error),
}

/// The zones of one disk, for all its workers.
#[derive(Debug)]
pub struct Zones {
    layout: ZoneLayout,
    count: u32,
    table: Mutex<Table>,
    /// Written with the lock held, so that it has the last of two changes.
    record: Option<Record>,
}

impl Zones {
    /// The zones of a disk of `size` bytes, in the states that `record` tells; all are empty where
    /// that file is. Zones that were open are closed. Without such a file the zones are empty each
    /// time. The file is locked against others.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a layout that this disk cannot have,
    /// [`InvalidData`](ErrorKind::InvalidData) for a record of other zones, else those of the host.
    pub fn new(layout: ZoneLayout, size: u64, record: Option<File>) -> io::Result<Self> {
        let count = layout.count(size)?;
        let mut table = Table::new(layout, count);
        let record = record
            .map(|file| Record::open(file, layout, &mut table))
            .transpose()?;
        Ok(Self {
            layout,
            count,
            table: Mutex::new(table),
            record,
        })
    }

    /// How the disk is divided.
    pub fn layout(&self) -> ZoneLayout {
        self.layout
    }

    /// The number of zones.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The number of the zone that has byte `offset` of the disk.
    pub fn index(&self, offset: u64) -> Option<u32> {
        let index = u32::try_from(offset / self.layout.size).ok()?;
        (index < self.count).then_some(index)
    }

    /// The zone with a number.
    pub fn zone(&self, index: u32) -> Option<Zone> {
        (index < self.count).then(|| self.table().zone(index as usize))
    }

    /// How many bytes of `range` were ever written. What follows them is to be read as zeroes,
    /// whatever the storage has there.
    ///
    /// # Errors
    /// [`ZoneError::Invalid`] where it lies in several zones that are not all conventional.
    pub fn readable(&self, range: FileRange) -> Result<u64, ZoneError> {
        self.table().readable(range)
    }

    /// Lets a write begin: the write pointer moves past it. Its end is to be told by
    /// [`written`](Self::written).
    ///
    /// # Errors
    /// Where the zone cannot take it.
    pub fn write(&self, range: FileRange) -> Result<(), ZoneError> {
        self.table().write(range)
    }

    /// Lets a write of `len` bytes begin at the write pointer of the zone that begins at `start`.
    /// Returns where that is.
    ///
    /// # Errors
    /// Where the zone cannot take it.
    pub fn append(&self, start: u64, len: u64) -> Result<FileRange, ZoneError> {
        self.table().append(start, len)
    }

    /// A write has ended. One that failed gives its place back where nothing came after it.
    ///
    /// # Errors
    /// Where the host cannot store how far the zone is written.
    pub fn written(&self, range: FileRange, good: bool) -> io::Result<()> {
        let mut table = self.table();
        if !good {
            table.give_back(range);
        }
        match self.index(range.offset()) {
            Some(index) => self.store(&table, index as usize),
            None => Ok(()),
        }
    }

    /// Does something to the zone that begins at `start`. Returns the range whose contents are of no
    /// use any more, if there is one.
    ///
    /// # Errors
    /// Where the zone is not in a state for it.
    pub fn act(&self, action: ZoneAction, start: u64) -> Result<Option<FileRange>, ZoneError> {
        let mut table = self.table();
        let index = table.sequential(start)?;
        table.act(action, index)?;
        self.store(&table, index)?;
        let range = FileRange::new(start, self.layout.size)?;
        Ok((action == ZoneAction::Reset).then_some(range))
    }

    /// Makes all sequential zones empty. Returns their range.
    ///
    /// # Errors
    /// Where the host cannot store it.
    pub fn reset_all(&self) -> io::Result<FileRange> {
        let mut table = self.table();
        for index in self.layout.conventional..self.count {
            // Of a sequential zone there is no state in which that is refused.
            let _ = table.act(ZoneAction::Reset, index as usize);
        }
        self.store_all(&table)?;
        let start = u64::from(self.layout.conventional) * self.layout.size;
        let sequential = u64::from(self.count - self.layout.conventional);
        FileRange::new(start, sequential * self.layout.size)
    }

    /// Makes durable what was stored, if it is stored at all.
    ///
    /// # Errors
    /// Those of `fdatasync(2)`.
    pub fn sync(&self) -> io::Result<()> {
        self.record.as_ref().map_or(Ok(()), Record::sync)
    }

    /// All states and write pointers, for [`restore`](Self::restore).
    pub fn save(&self) -> Vec<u8> {
        self.table().to_bytes()
    }

    /// Takes over what was saved of equal zones.
    ///
    /// # Errors
    /// [`InvalidData`](ErrorKind::InvalidData) for what zones of this layout cannot be like; nothing
    /// has changed then. Else where the host cannot store it.
    pub fn restore(&self, bytes: &[u8]) -> io::Result<()> {
        let mut table = self.table();
        table.load(bytes)?;
        self.store_all(&table)
    }

    /// Whoever panicked with the lock has left states between which nothing is lost.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store(&self, table: &Table, index: usize) -> io::Result<()> {
        match &self.record {
            Some(record) => record.store(index, &table.entry(index).to_bytes()),
            None => Ok(()),
        }
    }

    fn store_all(&self, table: &Table) -> io::Result<()> {
        match &self.record {
            Some(record) => record.store(0, &table.to_bytes()),
            None => Ok(()),
        }
    }
}

impl ZoneLayout {
    /// The number of zones of a disk of `size` bytes.
    fn count(&self, size: u64) -> io::Result<u32> {
        let bad = |why| Err(io::Error::new(ErrorKind::InvalidInput, why));
        let &Self { capacity, .. } = self;
        if !self.size.is_power_of_two() || self.size < SECTOR {
            return bad("the size of a zone is not a power of two of at least 512 bytes");
        }
        if !(1..=self.size).contains(&capacity) || !capacity.is_multiple_of(SECTOR) {
            return bad("the capacity of a zone is not of whole sectors, at most its size");
        }
        let count = match u32::try_from(size / self.size) {
            Ok(count @ 1..=MOST) if size.is_multiple_of(self.size) => count,
            _ => return bad("the disk does not consist of 1 to 65536 whole zones"),
        };
        match self.conventional > count {
            true => bad("there are more conventional zones than zones"),
            false => Ok(count),
        }
    }
}

const SECTOR: u64 = 512;
/// What is done to all zones at once has an end, and so has the search for one to close.
const MOST: u32 = 65536;
