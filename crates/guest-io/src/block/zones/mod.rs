//! A disk in zones, each of which is written from its beginning to its end: host-managed zones as
//! zoned block devices have them, on such a device or on storage that knows nothing of it.
//!
//! [`Zones`] says of each write where it goes and whether it may, of each read how much there is to
//! be read, and leaves the transfers to others. How far each zone is written outlives the process
//! where a file keeps that, or the storage itself has the zones.

mod device;
mod record;
mod table;
mod zone;

use std::fs::File;
use std::io::{self, ErrorKind};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{Disk, FileRange};
use device::Device;
use record::Record;
use table::Table;
pub use zone::{Zone, ZoneAction, ZoneError, ZoneLayout, ZoneLimits, ZoneState};

/// The zones of one disk, for all its workers.
#[derive(Debug)]
pub struct Zones {
    layout: ZoneLayout,
    /// Bytes of the disk.
    size: u64,
    count: u32,
    table: Mutex<Table>,
    keeper: Keeper,
}

/// What has the states when the process is gone.
#[derive(Debug)]
enum Keeper {
    Nobody,
    /// Written with the table's lock held, so that it has the last of two changes.
    Record(Record),
    /// The table is what the device has, as far as we know. It is changed with the device's turn held.
    Device(Device),
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
        let mut table = Table::new(layout, size);
        let keeper = match record {
            None => Keeper::Nobody,
            Some(file) => Keeper::Record(Record::open(file, layout, &mut table)?),
        };
        Ok(Self {
            layout,
            size,
            count,
            table: Mutex::new(table),
            keeper,
        })
    }

    /// The zones that `file` has itself, which is a zoned block device; `None` where it is anything
    /// else. The device keeps to its limits in any case; a driver is told of those in `limits`.
    ///
    /// Writes are to be done while [`turn`](Self::turn) is held, and past the page cache, which knows
    /// no order.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for zones that these cannot be: of several sizes or
    /// capacities, or conventional ones behind others; else those of the host.
    pub fn of_device(file: File, limits: ZoneLimits) -> io::Result<Option<Self>> {
        let disk = Disk::new(file)?;
        let Some(zone_size) = disk.zone_size()? else {
            return Ok(None);
        };
        let size = disk.size()?;
        let device = Device::new(disk, size);
        let layout = device.layout(zone_size, limits)?;
        let count = layout.count(size)?;
        let zones = Self {
            layout,
            size,
            count,
            table: Mutex::new(Table::new(layout, size)),
            keeper: Keeper::Device(device),
        };
        zones.look(0, count)?;
        Ok(Some(zones))
    }

    /// Where the storage has the zones itself, waits until nobody else writes to one.
    #[must_use]
    pub fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        self.device().map(Device::turn)
    }

    /// Asks the storage, where that has the zones itself, for `count` of them from number `first` on.
    ///
    /// # Errors
    /// Where it does not say.
    pub fn look(&self, first: u32, count: u32) -> io::Result<()> {
        let Some(device) = self.device() else {
            return Ok(());
        };
        let _turn = device.turn();
        self.look_in_turn(device, first, count)
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
    /// [`ZoneError::Invalid`] where it lies in several zones that are not all conventional, or in one
    /// that is offline.
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
    /// Where the host cannot store, or tell, how far the zone is written.
    pub fn written(&self, range: FileRange, good: bool) -> io::Result<()> {
        let mut table = self.table();
        if !good {
            table.give_back(range);
        }
        match (self.index(range.offset()), &self.keeper) {
            (Some(index), Keeper::Record(record)) => store(record, &table, index as usize),
            (Some(index), Keeper::Device(_)) if !good => {
                drop(table);
                self.look(index, 1)
            }
            _ => Ok(()),
        }
    }

    /// Does something to the zone that begins at `start`. Returns the range whose contents are of no
    /// use any more, if there is one.
    ///
    /// # Errors
    /// Where the zone is not in a state for it.
    pub fn act(&self, action: ZoneAction, start: u64) -> Result<Option<FileRange>, ZoneError> {
        let _turn = self.turn();
        let mut table = self.table();
        let index = table.sequential(start)?;
        let range = FileRange::new(start, table.len(index))?;
        table.act(action, index)?;
        match &self.keeper {
            Keeper::Nobody => {}
            Keeper::Record(record) => store(record, &table, index)?,
            Keeper::Device(device) => {
                drop(table);
                return self.act_in_turn(device, action, range);
            }
        }
        Ok((action == ZoneAction::Reset).then_some(range))
    }

    /// Makes all sequential zones empty. Returns the range whose contents are of no use any more, if
    /// there is one.
    ///
    /// # Errors
    /// Where the host cannot do or store it.
    pub fn reset_all(&self) -> Result<Option<FileRange>, ZoneError> {
        let range = self.sequential()?;
        let _turn = self.turn();
        let mut table = self.table();
        for index in self.layout.conventional..self.count {
            // Where that is refused, the zone is of no use.
            let _ = table.act(ZoneAction::Reset, index as usize);
        }
        match &self.keeper {
            Keeper::Nobody => {}
            Keeper::Record(record) => record.store(0, &table.to_bytes())?,
            Keeper::Device(device) => {
                drop(table);
                return self.act_in_turn(device, ZoneAction::Reset, range);
            }
        }
        Ok(Some(range))
    }

    /// Makes durable what was stored, if it is stored at all.
    ///
    /// # Errors
    /// Those of `fdatasync(2)`.
    pub fn sync(&self) -> io::Result<()> {
        match &self.keeper {
            Keeper::Record(record) => record.sync(),
            Keeper::Nobody | Keeper::Device(_) => Ok(()),
        }
    }

    /// All states and write pointers, for [`restore`](Self::restore); nothing where the storage has
    /// them itself.
    pub fn save(&self) -> Vec<u8> {
        match self.keeper {
            Keeper::Device(_) => Vec::new(),
            _ => self.table().to_bytes(),
        }
    }

    /// Takes over what was saved of equal zones.
    ///
    /// # Errors
    /// [`InvalidData`](ErrorKind::InvalidData) for what zones of this layout cannot be like; nothing
    /// has changed then. Else where the host cannot store it.
    pub fn restore(&self, bytes: &[u8]) -> io::Result<()> {
        match &self.keeper {
            Keeper::Device(_) if bytes.is_empty() => self.look(0, self.count),
            Keeper::Device(_) => Err(ErrorKind::InvalidData.into()),
            Keeper::Nobody => self.table().load(bytes),
            Keeper::Record(record) => {
                let mut table = self.table();
                table.load(bytes)?;
                record.store(0, &table.to_bytes())
            }
        }
    }

    fn device(&self) -> Option<&Device> {
        match &self.keeper {
            Keeper::Device(device) => Some(device),
            Keeper::Nobody | Keeper::Record(_) => None,
        }
    }

    /// Has the device do what the table has already. There is nothing to be discarded then.
    fn act_in_turn(
        &self,
        device: &Device,
        action: ZoneAction,
        range: FileRange,
    ) -> Result<Option<FileRange>, ZoneError> {
        let done = device.act(action, range);
        if done.is_err() {
            let first = self.index(range.offset()).unwrap_or_default();
            let count = range.len().div_ceil(self.layout.size);
            self.look_in_turn(device, first, count as u32)?;
        }
        done.map(|()| None)
    }

    fn look_in_turn(&self, device: &Device, first: u32, count: u32) -> io::Result<()> {
        let count = count.min(self.count.saturating_sub(first));
        device.report(first, count, self.layout.size, |index, zone| {
            self.table().put(index as usize, zone);
        })
    }

    /// All sequential zones.
    fn sequential(&self) -> io::Result<FileRange> {
        let start = u64::from(self.layout.conventional) * self.layout.size;
        FileRange::new(start, self.size.saturating_sub(start))
    }

    /// Whoever panicked with the lock has left states between which nothing is lost.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn store(record: &Record, table: &Table, index: usize) -> io::Result<()> {
    record.store(index, &table.entry(index).to_bytes())
}

const SECTOR: u64 = 512;

#[cfg(test)]
mod tests;
