//! Requests on ranges: VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES and
//! VIRTIO_BLK_T_SECURE_ERASE, and what else is done step by step.

use guest_io::block::Direction;
use guest_io::{MemoryGuard, SubmitError, Submitted};
use virtio_device::GuestView;
use virtio_device::vm_memory::GuestMemory;

use crate::Channel;
use crate::command::{HEADER, Operation, Range, SEGMENT, Status};
use crate::limits::RangeLimit;
use crate::outcome::Outcome;
use crate::request::{Request, Tools};
use crate::shared::Shared;

impl Request {
    /// Reads and checks all ranges before anything is done to the first.
    pub(crate) fn load_ranges<M: GuestMemory, G, C>(
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
}
