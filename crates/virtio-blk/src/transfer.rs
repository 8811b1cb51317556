//! Requests that move data: VIRTIO_BLK_T_IN and VIRTIO_BLK_T_OUT.

use std::io::{self, ErrorKind};

use guest_io::block::Direction;
use guest_io::{Deferred, FileRange, Flags, MemoryGuard, Segment, SubmitError, Submitted};
use virtio_device::vm_memory::{GuestAddress, GuestMemory};
use virtio_device::{Buffer, GuestView};

use crate::Channel;
use crate::command::{HEADER, Status};
use crate::outcome::Outcome;
use crate::request::{Request, Tools};
use crate::shared::Shared;

/// What is being moved.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Transfer {
    /// Of `len` bytes, and `blank` more that were never written.
    Read {
        len: u32,
        blank: u32,
    },
    Write {
        len: u32,
    },
}

impl Request {
    #[inline(always)]
    pub(crate) fn read<'m, M: GuestMemory, G: MemoryGuard, C: Channel<G>>(
        &mut self,
        token: u64,
        sector: u64,
        view: &mut GuestView<'m, M>,
        tools: &mut Tools<'_, 'm, M, G, C>,
    ) -> Result<Option<Outcome>, Status> {
        let room = self.room();
        fit(self.chain.writable_range(0, room), tools.size_max)?;
        let range = tools.shared.limits.range(sector, room.into())?;
        let len = tools.shared.limits.readable(range)?;
        let blank = room - len;
        if blank > 0 {
            self.fill_blank(len, blank, view)?;
        }
        let Tools {
            memory,
            iovecs,
            channel,
            ..
        } = tools;
        iovecs.clear();
        self.chain
            .writable_slices(view, 0, len, |slice| iovecs.push(slice))
            .map_err(|_| Status::IoErr)?;
        let deferred = Deferred {
            token,
            memory: *memory,
            segments: self.chain.writable_range(0, len).map(segment),
        };
        let submitted = channel.read(range.offset(), iovecs, deferred);
        let transfer = Transfer::Read { len, blank };
        Ok(self.moving(transfer, submitted, tools.shared))
    }

    #[inline(always)]
    pub(crate) fn write<'m, M: GuestMemory, G: MemoryGuard, C: Channel<G>>(
        &mut self,
        token: u64,
        sector: u64,
        view: &mut GuestView<'m, M>,
        tools: &mut Tools<'_, 'm, M, G, C>,
    ) -> Result<Option<Outcome>, Status> {
        let range = tools.shared.limits.writable_range(sector, self.payload())?;
        let shared = tools.shared;
        if let Some(zones) = &shared.limits.zones {
            return self.write_zone(token, zones, range, view, tools);
        }
        let stable = shared.stable(tools.cache);
        self.write_range(token, range, stable, view, tools)
    }

    /// Writes the payload to `range`, which is as long.
    #[inline(always)]
    pub(crate) fn write_range<'m, M: GuestMemory, G: MemoryGuard, C: Channel<G>>(
        &mut self,
        token: u64,
        range: FileRange,
        stable: bool,
        view: &mut GuestView<'m, M>,
        tools: &mut Tools<'_, 'm, M, G, C>,
    ) -> Result<Option<Outcome>, Status> {
        let len = self.payload();
        fit(self.chain.readable_range(HEADER, len), tools.size_max)?;
        let flags = match stable {
            true => Flags::DSYNC,
            false => Flags::NONE,
        };
        let Tools {
            memory,
            iovecs,
            channel,
            ..
        } = tools;
        iovecs.clear();
        self.chain
            .readable_slices(view, HEADER, len, |slice| iovecs.push(slice))
            .map_err(|_| Status::IoErr)?;
        let deferred = Deferred {
            token,
            memory: *memory,
            segments: self.chain.readable_range(HEADER, len).map(segment),
        };
        let submitted = channel.write(range.offset(), flags, iovecs, deferred);
        Ok(self.moving(Transfer::Write { len }, submitted, tools.shared))
    }

    /// What has become of a transfer that was submitted.
    #[inline]
    fn moving(
        &mut self,
        transfer: Transfer,
        submitted: Result<Submitted, SubmitError>,
        shared: &Shared,
    ) -> Option<Outcome> {
        match submitted {
            Ok(Submitted::InFlight) => {
                self.transfer = Some(transfer);
                None
            }
            Ok(Submitted::Done(result)) => Some(transfer.end(result, shared)),
            Err(_) => Some(Status::IoErr.into()),
        }
    }
}

impl Transfer {
    /// The outcome where so many bytes have moved. Fewer than asked for are an error: the image has
    /// become shorter than the disk.
    #[inline]
    pub(crate) fn end(self, result: io::Result<usize>, shared: &Shared) -> Outcome {
        let (len, written) = match self {
            Self::Read { len, blank } => (len, len + blank),
            Self::Write { len } => (len, 0),
        };
        match result {
            Ok(count) if count == len as usize => Outcome::done(written),
            result => self.fail(result, shared),
        }
    }

    #[cold]
    fn fail(self, result: io::Result<usize>, shared: &Shared) -> Outcome {
        let (count, error) = match result {
            Ok(count) => (count, ErrorKind::UnexpectedEof.into()),
            Err(error) => (0, error),
        };
        let (direction, most) = match self {
            Self::Read { len, .. } => (Direction::Read, len),
            Self::Write { .. } => (Direction::Write, 0),
        };
        Outcome {
            written: count.min(most as usize) as u32,
            ..shared.failed(direction, &error)
        }
    }
}

/// Whether no segment is too long.
fn fit(mut segments: impl Iterator<Item = Buffer>, most: u32) -> Result<(), Status> {
    match most == u32::MAX || segments.all(|segment| segment.len <= most) {
        true => Ok(()),
        false => Err(Status::IoErr),
    }
}

fn segment(Buffer { address, len }: Buffer) -> Segment {
    (GuestAddress(address), len as usize)
}
