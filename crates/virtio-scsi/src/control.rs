//! The worker of control queue and event queue (sections 5.6.6.2 and 5.6.6.3).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use guest_io::block::Backend;
use scsi_target::Attention;
use virtio_device::vm_memory::GuestMemory;
use virtio_device::{
    AddressSpace, ByteOrder, Chain, Cx, GuestView, Progress, QueueError, Result, Source,
};

use crate::Address;
use crate::config_space::EVENT;
use crate::office::{Fate, Office, Order, Ticket};
use crate::request::Response;
use crate::roster::luns_of;
use crate::tasks::Scope;

/// Serves the control queue and the event queue.
pub(crate) struct ControlWorker<B> {
    office: Arc<Office<B>>,
    /// Numbers of the request queues that have a worker.
    served: Vec<u16>,
    order: ByteOrder,
    chain: Chain,
    waiting: Vec<Waiting>,
}

/// A function that has not ended yet.
struct Waiting {
    chain: Chain,
    /// Held by those who have a part in it.
    ticket: Weak<Ticket>,
    function: Function,
    found: Arc<AtomicBool>,
}

/// A task management function (section 5.6.6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Function {
    scope: Scope,
    /// How tasks end, unless they are only looked for.
    fate: Option<Fate>,
    /// What is reset when they have ended.
    reset: Option<Attention>,
}

/// A control request, once it is known what is asked for.
enum Request {
    Function(Function),
    /// Answered at once; an asynchronous notification has four bytes more.
    Answer {
        response: Response,
        event: bool,
    },
}

impl<B: Backend> ControlWorker<B> {
    /// A worker beside those of the request queues `served`.
    pub(crate) fn new(office: Arc<Office<B>>, served: Vec<u16>, order: ByteOrder) -> Self {
        Self {
            office,
            served,
            order,
            chain: Chain::new(),
            waiting: Vec::new(),
        }
    }

    /// Looks at both queues, whatever it was woken for.
    pub(crate) fn serve<AS: AddressSpace>(&mut self, cx: &mut Cx<'_, AS>) -> Result<Progress> {
        self.office.control.hush();
        self.finish(cx, |waiting| waiting.ticket.strong_count() == 0);
        self.hear(cx)?;
        self.finish(cx, |waiting| waiting.ticket.strong_count() == 0);
        self.tell(cx)?;
        Ok(Progress::Idle)
    }

    /// Functions end without waiting: whoever is asked to stop ends the tasks in question before
    /// it does.
    pub(crate) fn quiesce<AS: AddressSpace>(&mut self, cx: &mut Cx<'_, AS>) -> Result<Progress> {
        self.finish(cx, |_| true);
        Ok(Progress::Idle)
    }

    pub(crate) fn sources(&self, add: &mut dyn FnMut(Source<'_>)) {
        add(self.office.control.source(BELL));
    }

    fn hear<AS: AddressSpace>(&mut self, cx: &mut Cx<'_, AS>) -> Result<(), QueueError> {
        let mut view = cx.view();
        let Some(mut queue) = cx.queue(CONTROL_QUEUE) else {
            return Ok(());
        };
        while queue.pop(&mut self.chain)? {
            match self.read(&mut view) {
                Request::Function(function) => self.begin(function),
                Request::Answer { response, event } => {
                    let written = answer(&self.chain, &mut view, response, event);
                    queue.push(&mut self.chain, written);
                }
            }
        }
        Ok(())
    }

    fn read<M: GuestMemory>(&self, view: &mut GuestView<'_, M>) -> Request {
        let failed = Request::Answer {
            response: Response::Failure,
            event: false,
        };
        let Ok(kind) = self.chain.read_array(view, 0) else {
            return failed;
        };
        match self.order.u32(kind) {
            TMF => match self.chain.read_array::<TMF_LEN, _>(view, 0) {
                Ok(bytes) => self.parse(bytes).map_or_else(
                    |response| Request::Answer {
                        response,
                        event: false,
                    },
                    Request::Function,
                ),
                Err(_) => failed,
            },
            // No asynchronous notification of a unit is known.
            AN_QUERY | AN_SUBSCRIBE => Request::Answer {
                response: Response::Ok,
                event: true,
            },
            _ => failed,
        }
    }

    /// The function that is asked for, if there is what it concerns.
    fn parse(&self, bytes: [u8; TMF_LEN]) -> Result<Function, Response> {
        let [
            _,
            _,
            _,
            _,
            s0,
            s1,
            s2,
            s3,
            lun @ ..,
            i0,
            i1,
            i2,
            i3,
            i4,
            i5,
            i6,
            i7,
        ] = bytes;
        let id = self.order.u64([i0, i1, i2, i3, i4, i5, i6, i7]);
        let address = Address::decode(lun).ok_or(Response::BadTarget)?;
        let function = Function::parse(self.order.u32([s0, s1, s2, s3]), address, id)?;
        let units = self.office.roster.units();
        if luns_of(&units, address.target).is_empty() {
            return Err(Response::BadTarget);
        }
        let whole = matches!(function.scope, Scope::Target(_));
        match whole || units.contains_key(&address) {
            true => Ok(function),
            false => Err(Response::IncorrectLun),
        }
    }

    /// Hands the function to all request queues that somebody serves: nobody else would carry it out.
    fn begin(&mut self, function: Function) {
        let found = Arc::new(AtomicBool::new(false));
        let ticket = Arc::new(Ticket::new(self.office.control.clone(), found.clone()));
        self.waiting.push(Waiting {
            chain: std::mem::take(&mut self.chain),
            ticket: Arc::downgrade(&ticket),
            function,
            found,
        });
        for &number in &self.served {
            let Some(inbox) = self.office.inboxes.get(usize::from(number)) else {
                continue;
            };
            inbox.put(Order {
                scope: function.scope,
                fate: function.fate,
                ticket: ticket.clone(),
            });
        }
    }

    /// Answers functions that have `ended`.
    fn finish<AS: AddressSpace>(&mut self, cx: &mut Cx<'_, AS>, ended: impl Fn(&Waiting) -> bool) {
        if self.waiting.is_empty() {
            return;
        }
        let mut view = cx.view();
        let mut queue = cx.queue(CONTROL_QUEUE);
        for mut waiting in self.waiting.extract_if(.., |waiting| ended(waiting)) {
            if let Some(attention) = waiting.function.reset {
                reset(&self.office, waiting.function.scope, attention);
            }
            let written = answer(&waiting.chain, &mut view, waiting.response(), false);
            if let Some(queue) = &mut queue {
                queue.push(&mut waiting.chain, written);
            }
        }
    }

    /// Gives the driver the events that wait, as far as it has buffers.
    fn tell<AS: AddressSpace>(&mut self, cx: &mut Cx<'_, AS>) -> Result<(), QueueError> {
        if self.office.events().is_empty() {
            return Ok(());
        }
        let mut view = cx.view();
        let Some(mut queue) = cx.queue(EVENT_QUEUE) else {
            return Ok(());
        };
        while !self.office.events().is_empty() && queue.pop(&mut self.chain)? {
            let Some((event, missed)) = self.office.events().next() else {
                break;
            };
            let bytes = event.encode(missed, self.order);
            let written = match self.chain.write_at(&mut view, 0, &bytes) {
                Ok(()) => EVENT as u32,
                Err(_) => {
                    self.office.events().lose();
                    0
                }
            };
            queue.push(&mut self.chain, written);
        }
        Ok(())
    }
}

impl Function {
    fn parse(subtype: u32, address: Address, id: u64) -> Result<Self, Response> {
        let (unit, target) = (Scope::Unit(address), Scope::Target(address.target));
        let (scope, fate, reset) = match subtype {
            0 => (Scope::Task(address, id), Some(Fate::Aborted), None),
            // With one initiator, its task set is the unit's.
            1 | 3 => (unit, Some(Fate::Aborted), None),
            4 => (target, Some(Fate::Reset), Some(Attention::NexusLoss)),
            5 => (unit, Some(Fate::Reset), Some(Attention::Reset)),
            6 => (Scope::Task(address, id), None, None),
            7 => (unit, None, None),
            // CLEAR ACA: there is no auto contingent allegiance.
            _ => return Err(Response::FunctionRejected),
        };
        Ok(Self { scope, fate, reset })
    }
}

impl Waiting {
    /// A query that found something has succeeded, all else is complete.
    fn response(&self) -> Response {
        let found = self.found.load(Ordering::Acquire);
        match self.function.fate.is_none() && found {
            true => Response::FunctionSucceeded,
            false => Response::Ok,
        }
    }
}

fn reset<B>(office: &Office<B>, scope: Scope, attention: Attention) {
    let units = office.roster.units();
    let concerned = |address: &Address| match scope {
        Scope::Target(target) => address.target == target,
        Scope::Unit(unit) | Scope::Task(unit, _) => *address == unit,
    };
    let units = units.iter().filter(|(address, _)| concerned(address));
    units.for_each(|(_, unit)| unit.reset(attention));
}

/// Writes the answer; returns its length. Notifications say first which events there are: none.
fn answer<M: GuestMemory>(
    chain: &Chain,
    view: &mut GuestView<'_, M>,
    response: Response,
    event: bool,
) -> u32 {
    let bytes = [0, 0, 0, 0, response as u8];
    let bytes = if event { &bytes[..] } else { &bytes[4..] };
    let written = chain.write_at(view, 0, bytes);
    written.map_or(0, |()| bytes.len() as u32)
}

pub(crate) const CONTROL_QUEUE: u16 = 0;
pub(crate) const EVENT_QUEUE: u16 = 1;
const BELL: u16 = 0;
/// VIRTIO_SCSI_T_TMF.
const TMF: u32 = 0;
/// VIRTIO_SCSI_T_AN_QUERY.
const AN_QUERY: u32 = 1;
/// VIRTIO_SCSI_T_AN_SUBSCRIBE.
const AN_SUBSCRIBE: u32 = 2;
const TMF_LEN: usize = 24;
