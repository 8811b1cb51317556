//! Requests of a host-managed zoned disk (section 5.2.6): reports, appends and what is done to
//! zones; and what zones mean for reads, writes and flushes.

use std::io;

use guest_io::block::{Zone, ZoneAction, ZoneError, ZoneState, Zones};
use guest_io::{FileRange, MemoryGuard};
use virtio_device::GuestView;
use virtio_device::virtio_bindings::virtio_blk as abi;
use virtio_device::vm_memory::{Bytes, GuestMemory};

use crate::Channel;
use crate::command::{Operation, Range, Status};
use crate::limits::{Limits, SECTOR};
use crate::outcome::Outcome;
use crate::request::{Request, Tools};
use crate::shared::Shared;

/// The part of a zone that a write was let in to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reserved {
    range: FileRange,
    /// Whether data and write pointer are stable when the request completes.
    stable: bool,
    /// Whether the driver learns where the range is.
    append: bool,
}

impl Reserved {
    /// For a write to a place that the driver has named.
    fn write(range: FileRange, stable: bool) -> Self {
        Self {
            range,
            stable,
            append: false,
        }
    }
}

impl Request {
    /// VIRTIO_BLK_T_ZONE_APPEND.
    pub(crate) fn append<'m, M: GuestMemory, G: MemoryGuard, C: Channel<G>>(
        &mut self,
        token: u64,
        sector: u64,
        view: &mut GuestView<'m, M>,
        tools: &mut Tools<'_, 'm, M, G, C>,
    ) -> Result<Option<Outcome>, Status> {
        // Linux leaves a gap between sector and status, which is found as the last byte.
        if self.room() < APPEND_SECTOR {
            return Err(Status::IoErr);
        }
        let _turn = tools.shared.limits.zones()?.turn();
        let range = tools.shared.append(sector, self.payload())?;
        let stable = tools.shared.stable(tools.cache);
        self.reserved = Some(Reserved {
            append: true,
            ..Reserved::write(range, stable)
        });
        self.write_range(token, range, stable, view, tools)
    }

    /// VIRTIO_BLK_T_ZONE_REPORT: as many zones as there is room for.
    pub(crate) fn report<M: GuestMemory>(
        &self,
        sector: u64,
        view: &mut GuestView<'_, M>,
        shared: &Shared,
    ) -> Result<Outcome, Status> {
        let zones = shared.limits.zones()?;
        let first = sector.checked_mul(SECTOR).and_then(|at| zones.index(at));
        let first = first.ok_or(Status::ZoneInvalid)?;
        let room = self.room().checked_sub(HEADER).ok_or(Status::IoErr)?;
        let count = (room / DESCRIPTOR).min(zones.count() - first);
        let looked = zones.look(first, count);
        looked.map_err(|error| shared.unrecorded(&error))?;
        let mut header = [0; HEADER as usize];
        header[..8].copy_from_slice(&u64::from(count).to_le_bytes());
        let mut written = 0;
        let mut put = |bytes: &[u8]| {
            let done = self.chain.write_at(view, written, bytes);
            written += bytes.len() as u32;
            done.map_err(|_| Status::IoErr)
        };
        put(&header)?;
        for zone in (first..first + count).filter_map(|index| zones.zone(index)) {
            put(&descriptor(zone))?;
        }
        Ok(Outcome::done(written))
    }

    /// VIRTIO_BLK_T_ZONE_OPEN, CLOSE, FINISH and RESET.
    pub(crate) fn act<M: GuestMemory, G: MemoryGuard, C: Channel<G>>(
        &mut self,
        token: u64,
        action: ZoneAction,
        sector: u64,
        tools: &mut Tools<'_, '_, M, G, C>,
    ) -> Result<Option<Outcome>, Status> {
        let zones = tools.shared.limits.zones()?;
        let start = sector.checked_mul(SECTOR).ok_or(Status::ZoneInvalid)?;
        let done = zones.act(action, start);
        let emptied = done.map_err(|error| tools.shared.refused(error))?;
        self.emptied(token, emptied, tools)
    }

    /// VIRTIO_BLK_T_ZONE_RESET_ALL.
    pub(crate) fn reset_zones<M: GuestMemory, G: MemoryGuard, C: Channel<G>>(
        &mut self,
        token: u64,
        tools: &mut Tools<'_, '_, M, G, C>,
    ) -> Result<Option<Outcome>, Status> {
        let done = tools.shared.limits.zones()?.reset_all();
        let emptied = done.map_err(|error| tools.shared.refused(error))?;
        self.emptied(token, emptied, tools)
    }

    /// VIRTIO_BLK_T_FLUSH: the data, and how far zones are written.
    pub(crate) fn flush<M: GuestMemory, G: MemoryGuard, C: Channel<G>>(
        &mut self,
        token: u64,
        tools: &mut Tools<'_, '_, M, G, C>,
    ) -> Result<Option<Outcome>, Status> {
        tools.shared.sync_zones()?;
        self.sync = true;
        Ok(self.step(token, tools.channel, tools.shared))
    }

    /// Writes the payload to `range`, where its zone takes it.
    #[inline(never)]
    pub(crate) fn write_zone<'m, M: GuestMemory, G: MemoryGuard, C: Channel<G>>(
        &mut self,
        token: u64,
        zones: &Zones,
        range: FileRange,
        view: &mut GuestView<'m, M>,
        tools: &mut Tools<'_, 'm, M, G, C>,
    ) -> Result<Option<Outcome>, Status> {
        let stable = tools.shared.stable(tools.cache);
        let _turn = zones.turn();
        let begun = zones.write(range);
        begun.map_err(|error| tools.shared.refused(error))?;
        self.reserved = Some(Reserved::write(range, stable));
        self.write_range(token, range, stable, view, tools)
    }

    /// Tells the zone how the write to it has ended.
    #[inline]
    pub(crate) fn settle(&mut self, outcome: Outcome, shared: &Shared) -> Outcome {
        let (Some(zones), Some(reserved)) = (&shared.limits.zones, &self.reserved) else {
            return outcome;
        };
        let good = outcome.status == Status::Ok;
        let mut stored = zones.written(reserved.range, good);
        if good && reserved.stable {
            stored = stored.and_then(|()| zones.sync());
        }
        match stored {
            Ok(()) => outcome,
            Err(error) => shared.unrecorded(&error).into(),
        }
    }

    /// After an append, tells the driver where its data are.
    pub(crate) fn place_sector<M: GuestMemory>(
        &self,
        view: &mut GuestView<'_, M>,
        outcome: Outcome,
    ) -> Outcome {
        let append = self.reserved.filter(|reserved| reserved.append);
        let Some(Reserved { range, .. }) = append.filter(|_| outcome.status == Status::Ok) else {
            return outcome;
        };
        let sector = (range.offset() / SECTOR).to_le_bytes();
        match self.chain.write_at(view, 0, &sector) {
            Ok(()) => Outcome::done(APPEND_SECTOR),
            Err(_) => Status::IoErr.into(),
        }
    }

    /// What was never written reads as zeroes.
    pub(crate) fn fill_blank<M: GuestMemory>(
        &self,
        offset: u32,
        len: u32,
        view: &mut GuestView<'_, M>,
    ) -> Result<(), Status> {
        let filled = self.chain.writable_slices(view, offset, len, |slice| {
            let mut at = 0;
            while let Ok(count @ 1..) = slice.write(&ZEROES, at) {
                at += count;
            }
        });
        filled.map_err(|_| Status::IoErr)
    }

    /// Gives the storage of what is of no use any more back, where there is such.
    fn emptied<M: GuestMemory, G: MemoryGuard, C: Channel<G>>(
        &mut self,
        token: u64,
        range: Option<FileRange>,
        tools: &mut Tools<'_, '_, M, G, C>,
    ) -> Result<Option<Outcome>, Status> {
        if tools.shared.stable(tools.cache) {
            tools.shared.sync_zones()?;
        }
        let may_unmap = true;
        self.ranges
            .extend(range.map(|range| Range { range, may_unmap }));
        self.operation = Some(Operation::Discard);
        Ok(self.step(token, tools.channel, tools.shared))
    }
}

impl Shared {
    /// The place of data that are appended to the zone at `sector`.
    fn append(&self, sector: u64, len: u32) -> Result<FileRange, Status> {
        let Limits {
            max_append,
            logical_block,
            ..
        } = self.limits;
        let zones = self.limits.zones()?;
        if len > max_append {
            return Err(Status::ZoneInvalid);
        }
        if !u64::from(len).is_multiple_of(logical_block) {
            return Err(Status::ZoneUnaligned);
        }
        let start = sector.checked_mul(SECTOR).ok_or(Status::ZoneInvalid)?;
        let range = zones.append(start, len.into());
        range.map_err(|error| self.refused(error))
    }

    fn sync_zones(&self) -> Result<(), Status> {
        let synced = self.limits.zones.as_ref().map_or(Ok(()), Zones::sync);
        synced.map_err(|error| self.unrecorded(&error))
    }

    /// The status where the host could not do, or record, something with a zone. It is never tried
    /// again: how far zones are written has changed already.
    fn unrecorded(&self, error: &io::Error) -> Status {
        self.failures.report(error);
        Status::IoErr
    }

    /// The status of what was not done to a zone. The driver causes all errors but one.
    fn refused(&self, error: ZoneError) -> Status {
        match error {
            ZoneError::Unaligned => Status::ZoneUnaligned,
            ZoneError::OpenLimit => Status::ZoneOpenResource,
            ZoneError::ActiveLimit => Status::ZoneActiveResource,
            ZoneError::Host(error) => self.unrecorded(&error),
            _ => Status::ZoneInvalid,
        }
    }
}

impl Limits {
    /// The zones, where the disk has some.
    fn zones(&self) -> Result<&Zones, Status> {
        self.zones.as_ref().ok_or(Status::Unsupp)
    }

    /// The `len` bytes from `sector` on, for a write. In a sequential zone what are not whole blocks
    /// is not aligned with the write pointer (section 5.2.6).
    pub(crate) fn writable_range(&self, sector: u64, len: u32) -> Result<FileRange, Status> {
        let range = self.range(sector, len.into());
        range.map_err(|status| match &self.zones {
            Some(zones) if self.is_off(zones, sector, len) => Status::ZoneUnaligned,
            _ => status,
        })
    }

    /// How many of the bytes of `range` are to be read from the back-end.
    #[inline]
    pub(crate) fn readable(&self, range: FileRange) -> Result<u32, Status> {
        let len = range.len();
        let readable = self
            .zones
            .as_ref()
            .map_or(Ok(len), |zones| zones.readable(range));
        readable.map_or(Err(Status::ZoneInvalid), |len| Ok(len as u32))
    }

    fn is_off(&self, zones: &Zones, sector: u64, len: u32) -> bool {
        let offset = sector.saturating_mul(SECTOR);
        let zone = zones.index(offset).and_then(|index| zones.zone(index));
        let sequential = zone.is_some_and(|zone| zone.state != ZoneState::NotWritePointer);
        sequential && (offset | u64::from(len)) & (self.logical_block - 1) != 0
    }
}

/// A `virtio_blk_zone_descriptor`.
fn descriptor(zone: Zone) -> [u8; DESCRIPTOR as usize] {
    let Zone {
        start,
        capacity,
        write_pointer,
        state,
    } = zone;
    let kind = match state {
        ZoneState::NotWritePointer => abi::VIRTIO_BLK_ZT_CONV,
        _ => abi::VIRTIO_BLK_ZT_SWR,
    };
    let mut bytes = [0; DESCRIPTOR as usize];
    let numbers = [capacity, start, write_pointer].map(|at| (at / SECTOR).to_le_bytes());
    bytes[..24].copy_from_slice(numbers.as_flattened());
    bytes[24..26].copy_from_slice(&[kind as u8, state as u8]);
    bytes
}

/// Bytes of the header of a report.
const HEADER: u32 = 64;
/// Bytes of each zone in it.
const DESCRIPTOR: u32 = 64;
/// Bytes of the sector that an append is answered with.
const APPEND_SECTOR: u32 = 8;
static ZEROES: [u8; 4096] = [0; 4096];
