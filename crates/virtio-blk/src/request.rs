//! A request from its pop to its answer.

use std::io::{self, ErrorKind};

use guest_io::block::{Direction, Verdict};
use guest_io::{Deferred, FileRange, Flags, Iovecs, MemoryGuard, Segment, SubmitError, Submitted};
use virtio_device::vm_memory::bitmap::BS;
use virtio_device::vm_memory::{GuestAddress, GuestMemory, Permissions};
use virtio_device::{Buffer, ByteOrder, Chain, GuestView};

use crate::Channel;
use crate::command::{Command, HEADER, Operation, Range, SEGMENT, Status};
use crate::limits::RangeLimit;
use crate::shared::{Cache, Shared};
use crate::zoned::Reserved;

/// The place of one request, used again by the next.
#[derive(Debug, Default)]
pub(crate) struct Request {
    pub(crate) chain: Chain,
    /// Where the status byte goes; `None` where the driver left no place for it.
    status_at: Option<u64>,
    /// Bytes to be transferred, if that is what is going on.
    transfer: Option<Transfer>,
    /// Ranges to work on; those before `next` are done or in flight.
    pub(crate) ranges: Vec<Range>,
    next: usize,
    pub(crate) operation: Option<Operation>,
    /// When that is done, data has to be made durable.
    pub(crate) sync: bool,
    /// The part of a zone that is being written.
    pub(crate) reserved: Option<Reserved>,
}

#[derive(Clone, Copy, Debug)]
enum Transfer {
    /// Of `len` bytes, and `blank` more that were never written.
    Read {
        len: u32,
        blank: u32,
    },
    Write {
        len: u32,
    },
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) status: Status,
    /// Bytes of data written to the start of the writable part.
    pub(crate) written: u32,
    /// It is not told, but the request is begun again by another worker.
    pub(crate) kept: bool,
}

/// What requests are done with. `'m` is the life of guest memory.
pub(crate) struct Tools<'t, 'm: 't, M: GuestMemory, G, C> {
    /// Keeps guest memory mapped.
    pub(crate) memory: &'t G,
    pub(crate) iovecs: Iovecs<'t, BS<'m, M::Bitmap>>,
    pub(crate) channel: &'t mut C,
    pub(crate) shared: &'t Shared,
    pub(crate) cache: Cache,
    pub(crate) order: ByteOrder,
    /// Bytes of the longest segment of data (section 5.2.4).
    pub(crate) size_max: u32,
}

impl Request {
    /// Begins the request that is in the chain. `None` if it stays in flight.
    #[inline(always)]
    pub(crate) fn start<'m, M: GuestMemory, G: MemoryGuard, C: Channel<G>>(
        &mut self,
        token: u64,
        view: &mut GuestView<'m, M>,
        tools: &mut Tools<'_, 'm, M, G, C>,
    ) -> Option<Outcome> {
        self.clear();
        self.status_at = status_place(&self.chain, view);
        let begun = self.begin(token, view, tools);
        let outcome = begun.unwrap_or_else(|status| Some(status.into()))?;
        Some(self.settle(outcome, tools.shared))
    }

    /// Takes the end of what was in flight. `None` if something else is now.
    pub(crate) fn resume<G: MemoryGuard, C: Channel<G>>(
        &mut self,
        token: u64,
        result: io::Result<usize>,
        channel: &mut C,
        shared: &Shared,
    ) -> Option<Outcome> {
        let outcome = match (result, self.transfer) {
            (result, Some(transfer)) => Some(transfer.end(result, shared)),
            (Ok(_), None) => self.step(token, channel, shared),
            (Err(error), None) => Some(shared.failed(Direction::Write, &error)),
        };
        Some(self.settle(outcome?, shared))
    }

    /// Writes the status byte. Returns the number of bytes written without a gap from the start of
    /// the writable part: with data that ends before the status, the status is not one of them
    /// (section 2.7.8.2).
    pub(crate) fn answer<M: GuestMemory>(
        &self,
        view: &mut GuestView<'_, M>,
        outcome: Outcome,
    ) -> u32 {
        let Some(at) = self.status_at else { return 0 };
        let outcome = self.place_sector(view, outcome);
        let status = [outcome.status as u8];
        let stored = view.for_each_slice(at, 1, Permissions::Write, |slice| {
            slice.copy_from(&status);
        });
        match stored {
            Ok(()) if outcome.written == self.room() => outcome.written.saturating_add(1),
            _ => outcome.written,
        }
    }

    #[inline(always)]
    fn begin<'m, M: GuestMemory, G: MemoryGuard, C: Channel<G>>(
        &mut self,
        token: u64,
        view: &mut GuestView<'m, M>,
        tools: &mut Tools<'_, 'm, M, G, C>,
    ) -> Result<Option<Outcome>, Status> {
        // Nobody could learn how it ended.
        self.status_at.ok_or(Status::IoErr)?;
        let header = self.chain.read_array(view, 0);
        let limits = &tools.shared.limits;
        match Command::parse(header.map_err(|_| Status::IoErr)?, tools.order, limits)? {
            Command::Read { sector } => self.read(token, sector, view, tools),
            Command::Write { sector } => self.write(token, sector, view, tools),
            Command::Identify => self.put(&tools.shared.id, view).map(Some),
            Command::Lifetime(fields) => {
                let bytes = fields.map(u16::to_le_bytes);
                self.put(bytes.as_flattened(), view).map(Some)
            }
            Command::Flush => self.flush(token, tools),
            Command::Ranges(operation, limit) => {
                self.load_ranges(operation, limit, view, tools)?;
                self.sync = match operation {
                    Operation::Discard => false,
                    Operation::WriteZeroes => tools.shared.stable(tools.cache),
                    // What is only in the page cache has erased nothing.
                    Operation::SecureErase => true,
                };
                Ok(self.step(token, tools.channel, tools.shared))
            }
            Command::Append { sector } => self.append(token, sector, view, tools),
            Command::Report { sector } => self.report(sector, view, tools.shared).map(Some),
            Command::Zone(action, sector) => self.act(token, action, sector, tools),
            Command::ResetZones => self.reset_zones(token, tools),
        }
    }

    #[inline(always)]
    fn read<'m, M: GuestMemory, G: MemoryGuard, C: Channel<G>>(
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
    fn write<'m, M: GuestMemory, G: MemoryGuard, C: Channel<G>>(
        &mut self,
        token: u64,
        sector: u64,
        view: &mut GuestView<'m, M>,
        tools: &mut Tools<'_, 'm, M, G, C>,
    ) -> Result<Option<Outcome>, Status> {
        let range = tools.shared.limits.writable_range(sector, self.payload())?;
        let stable = tools.shared.stable(tools.cache);
        self.reserve(range, stable, tools.shared)?;
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

    /// Answers with `bytes`, as many of them as there is room for.
    fn put<M: GuestMemory>(
        &self,
        bytes: &[u8],
        view: &mut GuestView<'_, M>,
    ) -> Result<Outcome, Status> {
        let len = bytes.len().min(self.room() as usize);
        let bytes = bytes.get(..len).unwrap_or_default();
        let written = self.chain.write_at(view, 0, bytes);
        written.map_err(|_| Status::IoErr)?;
        Ok(Outcome::done(len as u32))
    }

    /// Reads and checks all ranges before anything is done to the first.
    fn load_ranges<M: GuestMemory, G, C>(
        &mut self,
        operation: Operation,
        limit: RangeLimit,
        view: &mut GuestView<'_, M>,
        tools: &Tools<'_, '_, M, G, C>,
    ) -> Result<(), Status> {
        // Linux takes each type that is even for a read: here the ranges are where data would go.
        let misplaced = operation == Operation::SecureErase && self.payload() == 0;
        let len = match misplaced {
            true => self.room(),
            false => self.payload(),
        };
        let (count, rest) = (len / SEGMENT, len % SEGMENT);
        if rest != 0 || !(1..=limit.ranges).contains(&count) {
            return Err(Status::IoErr);
        }
        for index in 0..count {
            let bytes = match misplaced {
                true => self.fetch_writable(index * SEGMENT, view)?,
                false => {
                    let bytes = self.chain.read_array(view, HEADER + index * SEGMENT);
                    bytes.map_err(|_| Status::IoErr)?
                }
            };
            let range = Range::parse(bytes, tools.order, operation, limit, &tools.shared.limits)?;
            self.ranges.push(range);
        }
        self.operation = Some(operation);
        Ok(())
    }

    /// A range out of the writable part, which a device should not read but for a driver that errs
    /// (section 2.7.5.1).
    fn fetch_writable<M: GuestMemory>(
        &self,
        offset: u32,
        view: &mut GuestView<'_, M>,
    ) -> Result<[u8; SEGMENT as usize], Status> {
        let (mut bytes, mut at) = ([0; SEGMENT as usize], 0);
        let fetched = self.chain.writable_slices(view, offset, SEGMENT, |slice| {
            let end = at + slice.len();
            slice.copy_to(&mut bytes[at..end]);
            at = end;
        });
        fetched.map_err(|_| Status::IoErr).map(|()| bytes)
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

    /// Does what is to be done next, as far as it can be done at once.
    pub(crate) fn step<G: MemoryGuard, C: Channel<G>>(
        &mut self,
        token: u64,
        channel: &mut C,
        shared: &Shared,
    ) -> Option<Outcome> {
        loop {
            match self.submit_next(token, channel) {
                None => return Some(Status::Ok.into()),
                Some(Ok(Submitted::InFlight)) => return None,
                Some(Ok(Submitted::Done(Ok(_)))) => {}
                Some(Ok(Submitted::Done(Err(error)))) => {
                    return Some(shared.failed(Direction::Write, &error));
                }
                Some(Err(_)) => return Some(Status::IoErr.into()),
            }
        }
    }

    /// `None` if everything is done.
    fn submit_next<G: MemoryGuard, C: Channel<G>>(
        &mut self,
        token: u64,
        channel: &mut C,
    ) -> Option<Result<Submitted, SubmitError>> {
        let Some(&Range { range, may_unmap }) = self.ranges.get(self.next) else {
            let sync = std::mem::take(&mut self.sync);
            return sync.then(|| channel.sync_data(token));
        };
        self.next += 1;
        Some(match self.operation? {
            Operation::Discard => channel.discard(token, range),
            Operation::WriteZeroes => channel.write_zeroes(token, range, may_unmap),
            Operation::SecureErase => channel.overwrite(token, range),
        })
    }

    /// Bytes of the writable part before the status byte.
    pub(crate) fn room(&self) -> u32 {
        self.chain.writable_len().saturating_sub(1)
    }

    /// Bytes of the readable part after the header.
    pub(crate) fn payload(&self) -> u32 {
        self.chain.readable_len().saturating_sub(HEADER)
    }

    fn clear(&mut self) {
        let Self {
            chain: _,
            status_at,
            transfer,
            ranges,
            next,
            operation,
            sync,
            reserved,
        } = self;
        (*status_at, *transfer, *operation) = (None, None, None);
        *reserved = None;
        ranges.clear();
        (*next, *sync) = (0, false);
    }
}

impl Transfer {
    /// The outcome where so many bytes have moved. Fewer than asked for are an error: the image has
    /// become shorter than the disk.
    #[inline]
    fn end(self, result: io::Result<usize>, shared: &Shared) -> Outcome {
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

impl Shared {
    /// The outcome of a request that the back-end failed.
    pub(crate) fn failed(&self, direction: Direction, error: &io::Error) -> Outcome {
        match self.failures.judge(direction, error) {
            Verdict::Report => Status::IoErr.into(),
            Verdict::Ignore => Outcome::done(0),
            Verdict::Keep => Outcome {
                kept: true,
                ..Status::IoErr.into()
            },
        }
    }
}

impl Outcome {
    /// All went well, with so many bytes of data written.
    pub(crate) fn done(written: u32) -> Self {
        Self {
            written,
            ..Status::Ok.into()
        }
    }
}

impl From<Status> for Outcome {
    fn from(status: Status) -> Self {
        Self {
            status,
            written: 0,
            kept: false,
        }
    }
}

/// The address of the last writable byte (section 5.2.6), if it is there.
fn status_place<M: GuestMemory>(chain: &Chain, view: &mut GuestView<'_, M>) -> Option<u64> {
    let last = chain.writable().iter().rfind(|buffer| buffer.len > 0)?;
    let at = last.address.checked_add(u64::from(last.len) - 1)?;
    view.check(at, 1, Permissions::Write).then_some(at)
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
