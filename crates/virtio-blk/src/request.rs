//! A request from its pop to its answer.

use std::io;

use guest_io::block::Direction;
use guest_io::{Iovecs, MemoryGuard};
use virtio_device::vm_memory::bitmap::BS;
use virtio_device::vm_memory::{GuestMemory, Permissions};
use virtio_device::{ByteOrder, Chain, GuestView};

use crate::Channel;
use crate::command::{Command, HEADER, Operation, Range, Status};
use crate::outcome::Outcome;
use crate::shared::{Cache, Shared};
use crate::transfer::Transfer;
use crate::zoned::Reserved;

/// The place of one request, used again by the next.
#[derive(Debug, Default)]
pub(crate) struct Request {
    pub(crate) chain: Chain,
    /// Where the status byte goes; `None` where the driver left no place for it.
    status_at: Option<u64>,
    /// Bytes to be transferred, if that is what is going on.
    pub(crate) transfer: Option<Transfer>,
    /// Ranges to work on; those before `next` are done or in flight.
    pub(crate) ranges: Vec<Range>,
    pub(crate) next: usize,
    pub(crate) operation: Option<Operation>,
    /// When that is done, data has to be made durable.
    pub(crate) sync: bool,
    /// The part of a zone that is being written.
    pub(crate) reserved: Option<Reserved>,
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

/// The address of the last writable byte (section 5.2.6), if it is there.
fn status_place<M: GuestMemory>(chain: &Chain, view: &mut GuestView<'_, M>) -> Option<u64> {
    let last = chain.writable().iter().rfind(|buffer| buffer.len > 0)?;
    let at = last.address.checked_add(u64::from(last.len) - 1)?;
    view.check(at, 1, Permissions::Write).then_some(at)
}
