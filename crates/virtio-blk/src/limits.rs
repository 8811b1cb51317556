//! What requests are checked against.

use std::sync::atomic::{AtomicU64, Ordering};

use guest_io::FileRange;
use guest_io::block::Zones;

use crate::command::Status;

/// The bounds of a device's requests. Everything here is in bytes unless it says sectors.
#[derive(Debug)]
pub(crate) struct Limits {
    pub(crate) capacity: AtomicU64,
    pub(crate) logical_block: u64,
    pub(crate) read_only: bool,
    /// `None` where the device does not offer such requests.
    pub(crate) discard: Option<RangeLimit>,
    pub(crate) write_zeroes: Option<RangeLimit>,
    pub(crate) secure_erase: Option<RangeLimit>,
    /// What GET_LIFETIME answers; `None` where the device does not offer it.
    pub(crate) lifetime: Option<[u16; 3]>,
    /// `None` where the disk is not zoned.
    pub(crate) zones: Option<Zones>,
    /// Bytes that a zone append may have.
    pub(crate) max_append: u32,
}

/// How much one discard or write zeroes request may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RangeLimit {
    pub(crate) ranges: u32,
    /// In each range.
    pub(crate) sectors: u32,
}

impl Limits {
    /// The `len` bytes from `sector` on, if they are whole blocks within the disk (section
    /// 5.2.6.1).
    #[inline]
    pub(crate) fn range(&self, sector: u64, len: u64) -> Result<FileRange, Status> {
        let offset = sector.checked_mul(SECTOR).ok_or(Status::IoErr)?;
        let end = offset.checked_add(len).ok_or(Status::IoErr)?;
        let whole = (offset | len) & (self.logical_block - 1) == 0;
        if !whole || end > self.capacity.load(Ordering::Relaxed) {
            return Err(Status::IoErr);
        }
        FileRange::new(offset, len).map_err(|_| Status::IoErr)
    }
}

/// Bytes of a sector, the unit of the interface whatever the block size (section 5.2.4).
pub(crate) const SECTOR: u64 = 512;
