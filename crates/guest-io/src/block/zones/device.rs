//! Zones that the storage has itself: a zoned block device of the host (`linux/blkzoned.h`).

use std::io::{self, ErrorKind};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::ioctl::{Opcode, Setter, Updater, ioctl, opcode};

use super::{SECTOR, Zone, ZoneAction, ZoneError, ZoneLayout, ZoneLimits, ZoneState};
use crate::{Disk, FileRange};

/// The open device.
#[derive(Debug)]
pub(super) struct Device {
    disk: Disk,
    /// In bytes.
    size: u64,
    /// Held by who writes or changes zones: the device wants writes in the order of their places,
    /// and what it says of a zone is of use while nobody writes.
    turn: Mutex<()>,
}

impl Device {
    pub(super) fn new(disk: Disk, size: u64) -> Self {
        let turn = Mutex::default();
        Self { disk, size, turn }
    }

    /// How it is divided into zones of `size` bytes.
    pub(super) fn layout(&self, size: u64, limits: ZoneLimits) -> io::Result<ZoneLayout> {
        let mut layout = ZoneLayout {
            size,
            capacity: 0,
            conventional: 0,
            max_open: limits.max_open,
            max_active: limits.max_active,
        };
        let mut fit = Ok(());
        let zones = u32::try_from(self.size.div_ceil(size)).unwrap_or(u32::MAX);
        self.report(0, zones, size, |index, zone| {
            let len = layout.len(index, self.size);
            fit = std::mem::replace(&mut fit, Ok(())).and_then(|()| layout.admit(index, zone, len));
        })?;
        if layout.capacity == 0 {
            layout.capacity = size;
        }
        fit.map(|()| layout)
    }

    /// Waits until nobody else writes to a zone or changes it.
    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at `count` zones of `size` bytes from number `first` on, as far as there are so many.
    pub(super) fn report(
        &self,
        first: u32,
        count: u32,
        size: u64,
        mut each: impl FnMut(u32, Zone),
    ) -> io::Result<()> {
        let mut report = Box::new(Report::default());
        let (mut next, end) = (first, first.saturating_add(count));
        while next < end {
            report.ask(u64::from(next) * (size / SECTOR), end - next);
            // SAFETY: `BLKREPORTZONE` reads the header, and fills in the header and at most as many
            // of the zones behind it as that asks for, for which there is room.
            let told = unsafe { Updater::<BLKREPORTZONE, Report>::new(&mut report) };
            // SAFETY: it does nothing but that.
            unsafe { ioctl(&self.disk, told) }?;
            for (index, zone) in (next..end).zip(report.zones()) {
                let start = u64::from(index) * size;
                let len = size.min(self.size.saturating_sub(start));
                each(index, zone.parse(start, len)?);
            }
            match report.count {
                0 => break,
                count => next = next.saturating_add(count),
            }
        }
        Ok(())
    }

    /// Has the device do it to the zones that `range` consists of.
    pub(super) fn act(&self, action: ZoneAction, range: FileRange) -> Result<(), ZoneError> {
        let sectors = [range.offset() / SECTOR, range.len() / SECTOR];
        let done = match action {
            ZoneAction::Open => self.control::<BLKOPENZONE>(sectors),
            ZoneAction::Close => self.control::<BLKCLOSEZONE>(sectors),
            ZoneAction::Finish => self.control::<BLKFINISHZONE>(sectors),
            ZoneAction::Reset => self.control::<BLKRESETZONE>(sectors),
        };
        done.map_err(|error| match error.raw_os_error() {
            Some(libc::ETOOMANYREFS) => ZoneError::OpenLimit,
            Some(libc::EOVERFLOW) => ZoneError::ActiveLimit,
            _ => ZoneError::Host(error),
        })
    }

    fn control<const NUMBER: Opcode>(&self, sectors: [u64; 2]) -> io::Result<()> {
        // SAFETY: these requests read a `blk_zone_range`, which is a sector and a number of sectors.
        let range = unsafe { Setter::<NUMBER, [u64; 2]>::new(sectors) };
        // SAFETY: they change the zones of a block device, whose bytes no Rust memory maps.
        Ok(unsafe { ioctl(&self.disk, range) }?)
    }
}

impl ZoneLayout {
    /// Takes one zone more into account, of `len` bytes: the first ones are conventional, all others alike
    /// but for the last, which may be smaller.
    fn admit(&mut self, index: u32, zone: Zone, len: u64) -> io::Result<()> {
        let other = |why| Err(io::Error::new(ErrorKind::InvalidInput, why));
        match zone.state {
            ZoneState::NotWritePointer if self.conventional == index => {
                self.conventional = index + 1;
                Ok(())
            }
            ZoneState::NotWritePointer => other("conventional zones follow sequential ones"),
            _ if self.capacity == 0 => {
                self.capacity = zone.capacity;
                Ok(())
            }
            _ if self.capacity.min(len) == zone.capacity => Ok(()),
            _ => other("the zones have different capacities"),
        }
    }
}

/// A `blk_zone_report` with room for some zones.
#[repr(C)]
struct Report {
    sector: u64,
    count: u32,
    flags: u32,
    room: [BlkZone; ROOM],
}

/// A `blk_zone`, in sectors.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
struct BlkZone {
    start: u64,
    len: u64,
    write_pointer: u64,
    kind: u8,
    condition: u8,
    flags: [u8; 2],
    reserved: [u8; 4],
    capacity: u64,
    more: [u64; 3],
}

impl Report {
    fn ask(&mut self, sector: u64, count: u32) {
        let count = count.min(ROOM as u32);
        (self.sector, self.count, self.flags) = (sector, count, 0);
    }

    fn zones(&self) -> &[BlkZone] {
        self.room.get(..self.count as usize).unwrap_or(&self.room)
    }
}

impl Default for Report {
    fn default() -> Self {
        Self {
            sector: 0,
            count: 0,
            flags: 0,
            room: [BlkZone::default(); ROOM],
        }
    }
}

impl BlkZone {
    /// The zone that is to begin at byte `start` and to have `len` bytes.
    fn parse(&self, start: u64, len: u64) -> io::Result<Zone> {
        let other = |why| Err(io::Error::new(ErrorKind::InvalidInput, why));
        if self.start != start / SECTOR || self.len != len / SECTOR {
            return other("the zones are not all of one size");
        }
        let state = match (self.kind, ZoneState::from_byte(self.condition)) {
            (CONVENTIONAL, _) => ZoneState::NotWritePointer,
            (SEQUENTIAL, Some(state)) if state != ZoneState::NotWritePointer => state,
            _ => return other("there is a zone of an unknown kind"),
        };
        let capacity = match self.capacity {
            // Kernels before 5.9 do not tell.
            0 => len,
            sectors => sectors.saturating_mul(SECTOR).min(len),
        };
        let written = self.write_pointer.saturating_sub(self.start);
        let written = match state {
            ZoneState::NotWritePointer | ZoneState::Empty => 0,
            // The pointer means nothing.
            ZoneState::Full | ZoneState::ReadOnly | ZoneState::Offline => capacity,
            _ => written.saturating_mul(SECTOR).min(capacity),
        };
        Ok(Zone {
            start,
            capacity,
            write_pointer: start + written,
            state,
        })
    }
}

/// `BLK_ZONE_TYPE_CONVENTIONAL` and `BLK_ZONE_TYPE_SEQWRITE_REQ`.
const CONVENTIONAL: u8 = 1;
const SEQUENTIAL: u8 = 2;
/// Zones in one report.
const ROOM: usize = 256;
const BLKREPORTZONE: Opcode = opcode::read_write::<[u64; 2]>(0x12, 130);
const BLKRESETZONE: Opcode = opcode::write::<[u64; 2]>(0x12, 131);
const BLKOPENZONE: Opcode = opcode::write::<[u64; 2]>(0x12, 134);
const BLKCLOSEZONE: Opcode = opcode::write::<[u64; 2]>(0x12, 135);
const BLKFINISHZONE: Opcode = opcode::write::<[u64; 2]>(0x12, 136);

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 1 << 20;

    fn told(condition: u8, written: u64) -> BlkZone {
        BlkZone {
            start: 2048,
            len: 2048,
            write_pointer: 2048 + written,
            kind: SEQUENTIAL,
            condition,
            capacity: 1536,
            ..BlkZone::default()
        }
    }

    #[test]
    fn a_zone_is_what_the_kernel_has_for_one() {
        assert_eq!(size_of::<BlkZone>(), 64);
        assert_eq!(size_of::<Report>(), 16 + ROOM * 64);
        for (condition, written, state, bytes) in [
            (1, 0, ZoneState::Empty, 0),
            (2, 8, ZoneState::ImplicitlyOpen, 4096),
            (3, 0, ZoneState::ExplicitlyOpen, 0),
            (4, 8, ZoneState::Closed, 4096),
            (13, 8, ZoneState::ReadOnly, 1536 * 512),
            (14, 8, ZoneState::Full, 1536 * 512),
            (15, 8, ZoneState::Offline, 1536 * 512),
        ] {
            let zone = told(condition, written).parse(SIZE, SIZE).unwrap();
            let expected = Zone {
                start: SIZE,
                capacity: 1536 * 512,
                write_pointer: SIZE + bytes,
                state,
            };
            assert_eq!(zone, expected);
        }
        assert!(told(0, 0).parse(SIZE, SIZE).is_err(), "of no kind");
        assert!(told(9, 0).parse(SIZE, SIZE).is_err(), "in no state");
        assert!(told(1, 0).parse(0, SIZE).is_err(), "elsewhere");
        assert!(told(1, 0).parse(SIZE, 2 * SIZE).is_err(), "smaller");
        let preferred = BlkZone {
            kind: 3,
            ..told(1, 0)
        };
        assert!(preferred.parse(SIZE, SIZE).is_err());
    }

    #[test]
    fn conventional_zones_come_first_and_others_are_alike() {
        let layout = |states: &[(ZoneState, u64)]| {
            let mut layout = ZoneLayout {
                size: SIZE,
                capacity: 0,
                conventional: 0,
                max_open: 0,
                max_active: 0,
            };
            for (index, &(state, capacity)) in states.iter().enumerate() {
                layout.admit(
                    index as u32,
                    Zone {
                        start: 0,
                        capacity,
                        write_pointer: 0,
                        state,
                    },
                    if index == 3 { 256 } else { SIZE },
                )?;
            }
            io::Result::Ok((layout.conventional, layout.capacity))
        };
        let (conventional, empty) = (ZoneState::NotWritePointer, ZoneState::Empty);
        let first = layout(&[(conventional, SIZE), (empty, 512), (ZoneState::Full, 512)]);
        assert_eq!(first.unwrap(), (1, 512));
        let last = [(empty, 512), (empty, 512), (empty, 512), (empty, 256)];
        assert_eq!(layout(&last).unwrap(), (0, 512), "the last one is smaller");
        assert!(layout(&[(empty, 512), (empty, 256)]).is_err());
        assert!(layout(&[(empty, 512), (conventional, SIZE)]).is_err());
        assert!(layout(&[(empty, 512), (empty, 1024)]).is_err());
    }
}
