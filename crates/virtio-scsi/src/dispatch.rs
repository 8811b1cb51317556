//! From a chain to a command of a unit, and from its end to an answer.

use std::sync::Arc;

use guest_io::MemoryGuard;
use guest_io::block::Backend;
use scsi_target::{Begun, Buffers, Cdb, Ending, LogicalUnit, Lun, absent};
use virtio_device::GuestView;
use virtio_device::vm_memory::GuestMemory;

use crate::Address;
use crate::data::Data;
use crate::office::Fate;
use crate::request::{Answer, Header, Response};
use crate::requests::RequestWorker;
use crate::roster::luns_of;
use crate::tasks::Slot;

/// What has become of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    InFlight,
    /// It is begun again by the next worker.
    Kept,
    /// Its answer, and data before that, have so many bytes.
    Answered(u32),
}

/// A command that has ended as soon as it was begun.
enum Begin {
    /// For want of a unit.
    Absent(Answer),
    Ended(Ending),
}

impl<B: Backend, G: MemoryGuard + Send + Sync> RequestWorker<B, G> {
    /// Begins the request in slot `index`.
    #[inline(always)]
    pub(crate) fn start<M: GuestMemory>(
        &mut self,
        index: usize,
        view: &mut GuestView<'_, M>,
        memory: &G,
    ) -> Course {
        let Some(slot) = self.slots.get(index) else {
            return Course::Answered(0);
        };
        let (frame, order) = (slot.frame, self.order);
        // Nobody could learn how it ended.
        if slot.chain.writable_len() < frame.in_at {
            return Course::Answered(0);
        }
        let header = frame.header(&slot.chain, view, order);
        let header = header.and_then(|header| match slot.is_bidirectional() {
            true => Err(Response::Failure),
            false => Ok(header),
        });
        let header = match header {
            Ok(header) => header,
            Err(response) => return self.refuse(index, response, view),
        };
        match Address::decode(header.lun) {
            Some(address) => self.dispatch(index, address, header, view, memory),
            None => self.refuse(index, Response::BadTarget, view),
        }
    }

    fn refuse<M: GuestMemory>(
        &self,
        index: usize,
        response: Response,
        view: &mut GuestView<'_, M>,
    ) -> Course {
        self.answer(index, Answer::response(response), None, view)
    }

    /// Has the unit at `address` begin the command of `header`.
    #[inline(always)]
    fn dispatch<M: GuestMemory>(
        &mut self,
        index: usize,
        address: Address,
        header: Header,
        view: &mut GuestView<'_, M>,
        memory: &G,
    ) -> Course {
        if let Some(slot) = self.slots.get_mut(index) {
            slot.begin(address, header.id);
        }
        let cdb = match header.cdb {
            Ok(cdb) => cdb,
            Err(sense) => {
                let unit = self.seen.units.get(&address).map(Arc::as_ref);
                return self.course(index, sense.into(), None, unit, view);
            }
        };
        match self.begin(index, address, &cdb, view, memory) {
            Some(Begin::Absent(answer)) => self.answer(index, answer, None, view),
            Some(Begin::Ended(ending)) => {
                let unit = self.seen.units.get(&address).map(Arc::as_ref);
                self.course(index, ending, None, unit, view)
            }
            None => Course::InFlight,
        }
    }

    /// Begins a command. `None` if it is in flight.
    #[inline(always)]
    fn begin<M: GuestMemory>(
        &mut self,
        index: usize,
        address: Address,
        cdb: &Cdb,
        view: &mut GuestView<'_, M>,
        memory: &G,
    ) -> Option<Begin> {
        let (slot, units) = (self.slots.get_mut(index)?, &self.seen.units);
        let mut data = Data {
            chain: &slot.chain,
            frame: slot.frame,
            view,
            memory,
            storage: &mut self.storage,
        };
        let mut luns = || luns_of(units, address.target);
        let Some(unit) = units.get(&address) else {
            return Some(Begin::Absent(without_unit(cdb, &mut data, &luns())));
        };
        let access = match unit.start(cdb, &mut data, &mut luns) {
            Begun::Ended(ending) => return Some(Begin::Ended(ending)),
            Begun::Medium(access) => access,
        };
        let (token, task, path) = (index as u64, &mut slot.task, (address, unit));
        match self.paths.start(path, access, task, token, &mut data) {
            Ok(number) => {
                slot.path = Some(number);
                None
            }
            Err(ending) => Some(Begin::Ended(ending)),
        }
    }

    /// What becomes of the request in slot `index`, whose command has ended like this.
    pub(crate) fn course<M: GuestMemory>(
        &self,
        index: usize,
        ending: Ending,
        fate: Option<Fate>,
        unit: Option<&LogicalUnit<B>>,
        view: &mut GuestView<'_, M>,
    ) -> Course {
        match ending {
            Ending::Kept => Course::Kept,
            ending => self.answer(index, Answer::new(ending, fate), unit, view),
        }
    }

    fn answer<M: GuestMemory>(
        &self,
        index: usize,
        answer: Answer,
        unit: Option<&LogicalUnit<B>>,
        view: &mut GuestView<'_, M>,
    ) -> Course {
        let order = self.order;
        let written = self.slots.get(index).map_or(0, |slot| {
            answer.write(slot.frame, &slot.chain, view, order, unit)
        });
        Course::Answered(written)
    }
}

/// The answer of a target to a command for a unit that it does not have: that is no target at all
/// without any units.
fn without_unit<G: MemoryGuard>(cdb: &Cdb, data: &mut impl Buffers<G>, luns: &[Lun]) -> Answer {
    match luns.is_empty() {
        true => Answer::response(Response::BadTarget),
        false => Answer::new(absent(cdb, data, luns), None),
    }
}

impl Slot {
    /// Data in both directions takes VIRTIO_SCSI_F_INOUT, which is not offered.
    fn is_bidirectional(&self) -> bool {
        self.chain.readable_len() > self.frame.out_at
            && self.chain.writable_len() > self.frame.in_at
    }
}
