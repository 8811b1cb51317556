//! A zone, and what can be done to it.

use std::io::{self, ErrorKind};

use super::SECTOR;

/// How a disk is divided into zones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZoneLayout {
    /// Bytes from one zone to the next: a power of two, at least 512. The last zone has what is left.
    pub size: u64,
    /// Bytes of a zone that can be written, if it has so many: whole sectors, at most `size`.
    pub capacity: u64,
    /// So many zones, the first ones, are conventional: written anywhere, at any time.
    pub conventional: u32,
    /// Zones that can be open at a time; 0: no limit.
    pub max_open: u32,
    /// Zones that can be open or closed, thus neither empty nor full, at a time; 0: no limit.
    pub max_active: u32,
}

/// How many zones of a zoned block device may be in use at a time, as its host's sysfs says
/// (`queue/max_open_zones` and `queue/max_active_zones`); 0: no limit, or nobody says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ZoneLimits {
    /// Open ones.
    pub max_open: u32,
    /// Open and closed ones.
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
    /// It takes no more writes, and cannot be reset. Only storage that has the zones itself has such.
    ReadOnly = 13,
    /// It takes no more writes.
    Full = 14,
    /// Nothing can be done with it, not even a read. Likewise.
    Offline = 15,
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
/// [`Host`](Self::Host).
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
    /// The host could not do or store it.
    #[error("the host's zones: {0}")]
    Host(#[from] io::Error),
}

impl ZoneLayout {
    /// The number of zones of a disk of `size` bytes.
    pub(super) fn count(&self, size: u64) -> io::Result<u32> {
        let bad = |why| Err(io::Error::new(ErrorKind::InvalidInput, why));
        let &Self { capacity, .. } = self;
        if !self.size.is_power_of_two() || self.size < SECTOR {
            return bad("the size of a zone is not a power of two of at least 512 bytes");
        }
        if !(1..=self.size).contains(&capacity) || !capacity.is_multiple_of(SECTOR) {
            return bad("the capacity of a zone is not of whole sectors, at most its size");
        }
        let count = match u32::try_from(size.div_ceil(self.size)) {
            Ok(count @ 1..=MOST) if size.is_multiple_of(SECTOR) => count,
            _ => return bad("the disk does not consist of 1 to 65536 zones of whole sectors"),
        };
        match self.conventional > count {
            true => bad("there are more conventional zones than zones"),
            false => Ok(count),
        }
    }

    /// Bytes of the zone with this number, on a disk of `size` bytes that has it.
    pub(super) fn len(&self, index: u32, size: u64) -> u64 {
        let start = u64::from(index) * self.size;
        self.size.min(size.saturating_sub(start))
    }
}

/// What is done to all zones at once has an end, and so has the search for one to close.
const MOST: u32 = 65536;
