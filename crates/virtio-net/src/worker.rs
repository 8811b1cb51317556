//! The data plane: a worker for each pair of queues, or one for all where frames are steered.

use std::sync::Arc;

use virtio_device::{
    AddressSpace, Chain, Cx, MemoryError, Progress, QueueError, Result, Source, Worker,
};

use crate::Line;
use crate::aside::Aside;
use crate::control::{self, Data};
use crate::negotiated::Negotiated;
use crate::pair::{INPUT, OUTPUT, Pair, TIMER, of_token};
use crate::receive::Received;
use crate::shared::Shared;
use crate::terms::Terms;

/// Serves some pairs of queues of a [`Net`](crate::Net); the worker of the first pair also serves
/// the control queue.
pub struct NetWorker<L> {
    shared: Arc<Shared>,
    negotiated: Negotiated,
    pairs: Vec<Pair<L>>,
    control: Control,
    /// Whether the event loop knows what is to be watched. It is another one after each stop.
    started: bool,
}

#[derive(Debug, Default)]
struct Control {
    chain: Chain,
    data: Vec<u8>,
}

impl<L: Line> NetWorker<L> {
    pub(crate) fn new(shared: Arc<Shared>, negotiated: Negotiated, pairs: Vec<Pair<L>>) -> Self {
        Self {
            shared,
            negotiated,
            pairs,
            control: Control::default(),
            started: false,
        }
    }

    pub(crate) fn into_pairs(self) -> Vec<Pair<L>> {
        self.pairs
    }

    /// Looks at everything once: what became ready before the event loop was there has not been
    /// reported.
    fn start<AS: AddressSpace>(&mut self, cx: &mut Cx<'_, AS>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        for pair in &mut self.pairs {
            pair.look(cx, &self.shared);
            // Its first turn is like any other.
            self.shared.wake(pair.index);
        }
    }

    /// Moves frames one way or both ways, of the pair `index`.
    fn serve<AS: AddressSpace>(
        &mut self,
        index: u16,
        [receive, transmit]: [bool; 2],
        cx: &mut Cx<'_, AS>,
    ) -> Result<Progress> {
        let Self {
            shared,
            negotiated,
            pairs,
            ..
        } = self;
        let rules = shared.rules();
        let terms = shared.terms(&rules, negotiated, cx.host());
        let in_use = index < rules.pairs;
        let Some(at) = pairs.iter().position(|pair| pair.index == index) else {
            return Ok(Progress::Idle);
        };
        let mut progress = Progress::Idle;
        if let (Some(pair), true) = (pairs.get_mut(at), transmit) {
            pair.transmit(cx, &terms)?;
        }
        match pairs.get_mut(at) {
            Some(pair) if receive && !in_use => pair.rest(cx),
            Some(_) if receive && rules.steering.table.is_some() => {
                progress = steer(pairs, at, cx, &terms)?;
            }
            Some(pair) if receive => progress = pair.receive(cx, &terms)?,
            _ => {}
        }
        let ended = pairs.get_mut(at).is_some_and(Pair::take_end);
        drop(rules);
        if ended {
            log::warn!("the host end of a network device is gone; its link is down");
            shared.set_link(false);
        }
        Ok(progress)
    }

    fn wake<AS: AddressSpace>(&mut self, index: u16, cx: &mut Cx<'_, AS>) {
        self.shared.woke(index);
        let rules = self.shared.rules();
        let terms = self.shared.terms(&rules, &self.negotiated, cx.host());
        let first = self.pairs.iter_mut().find(|pair| pair.index == 0);
        if let (Some(pair), 0) = (first, index)
            && self.shared.take_announcement()
        {
            pair.announce(&terms);
        }
    }

    /// Does the driver's commands.
    fn obey<AS: AddressSpace>(
        &mut self,
        queue: u16,
        cx: &mut Cx<'_, AS>,
    ) -> Result<(), QueueError> {
        let host = cx.host();
        let Some(mut queue) = cx.queue(queue) else {
            return Ok(());
        };
        let Control { chain, data } = &mut self.control;
        while queue.pop(chain)? {
            let len = chain.readable_len().min(MAX_COMMAND);
            data.resize(len as usize, 0);
            let read = chain.read_at(queue.view(), 0, data);
            let command = match data.split_first_chunk() {
                Some((&[class, command], data)) if chain.readable_len() == len => {
                    Some(((class, command), Data::new(data, self.negotiated.order)))
                }
                _ => None,
            };
            let answer = command
                .filter(|_| read.is_ok() && chain.writable_len() > 0)
                .and_then(|(which, data)| {
                    control::execute(&self.shared, &self.negotiated, which, data)
                });
            let reply = reply(answer);
            let written = reply.len().min(chain.writable_len() as usize);
            // A reply that does not fit ends with its acknowledgement all the same.
            let (_, reply) = reply.split_at(reply.len() - written);
            let wrote = chain.write_at(queue.view(), 0, reply);
            if [read, wrote].iter().any(is_no_memory) {
                host.needs_reset();
            }
            queue.push(chain, written as u32);
        }
        Ok(())
    }
}

impl<L: Line, AS: AddressSpace> Worker<AS> for NetWorker<L> {
    fn kick(&mut self, queue: u16, cx: &mut Cx<'_, AS>) -> Result<Progress> {
        self.start(cx);
        if self.negotiated.control == Some(queue) {
            self.obey(queue, cx)?;
            return Ok(Progress::Idle);
        }
        let receive = queue.is_multiple_of(2);
        self.serve(queue / 2, [receive, !receive], cx)
    }

    fn event(&mut self, token: u16, cx: &mut Cx<'_, AS>) -> Result<Progress> {
        self.start(cx);
        let (index, which) = of_token(token);
        match which {
            INPUT => self.serve(index, [true, false], cx),
            OUTPUT => self.serve(index, [false, true], cx),
            TIMER => {
                let pair = self.pairs.iter_mut().find(|pair| pair.index == index);
                if let Some(pair) = pair {
                    pair.let_go(cx);
                }
                Ok(Progress::Idle)
            }
            _ => {
                self.wake(index, cx);
                self.serve(index, [true, true], cx)
            }
        }
    }

    fn sources(&self, add: &mut dyn FnMut(Source<'_>)) {
        for pair in &self.pairs {
            pair.sources(&self.shared, add);
        }
    }

    fn quiesce(&mut self, cx: &mut Cx<'_, AS>) -> Result<Progress> {
        for pair in &mut self.pairs {
            pair.quiesce(cx);
        }
        self.started = false;
        Ok(Progress::Idle)
    }
}

fn is_no_memory<T>(access: &Result<T, MemoryError>) -> bool {
    matches!(access, Err(MemoryError::OutOfRange { .. }))
}

/// Moves frames from the line of the pair `at` to the queues that the table says. Those for a queue
/// without buffers, or without a worker, are lost (section 5.1.6.5.7.4).
fn steer<L: Line, AS: AddressSpace>(
    pairs: &mut [Pair<L>],
    at: usize,
    cx: &mut Cx<'_, AS>,
    terms: &Terms<'_>,
) -> Result<Progress, QueueError> {
    let mut received = Received::Again;
    for _ in 0..STEERED {
        let Some(pair) = pairs.get_mut(at) else { break };
        match pair.receiver.read_aside(&mut pair.line, terms) {
            Ok(None) => {}
            Ok(Some(aside)) => {
                let bytes = pair.receiver.lend();
                deliver(pairs, &aside, &bytes, cx, terms)?;
                if let Some(pair) = pairs.get_mut(at) {
                    pair.receiver.take_back(bytes);
                }
            }
            Err(end) => {
                received = end;
                break;
            }
        }
    }
    Ok(pairs
        .get_mut(at)
        .map_or(Progress::Idle, |pair| pair.after(cx, received)))
}

/// Gives a frame to the queue that it is for.
fn deliver<L: Line, AS: AddressSpace>(
    pairs: &mut [Pair<L>],
    aside: &Aside,
    bytes: &[u8],
    cx: &mut Cx<'_, AS>,
    terms: &Terms<'_>,
) -> Result<(), QueueError> {
    let table = terms.rules.steering.table.as_ref();
    let to = table.map_or(0, |table| table.pair(aside.hash.map(|hash| hash.value)));
    let Some(to) = pairs.iter_mut().find(|pair| pair.index == to) else {
        return Ok(());
    };
    let frame = bytes.get(..aside.len).unwrap_or_default();
    to.accept(cx, (aside.header, aside.hash), frame, terms)
}

/// An answer, if there is one, and the acknowledgement.
fn reply(answer: Option<Option<control::Answer>>) -> Vec<u8> {
    match answer {
        Some(Some(answer)) => [&answer[..], &[OK]].concat(),
        Some(None) => vec![OK],
        None => vec![ERR],
    }
}

const OK: u8 = 0;
const ERR: u8 = 1;
/// Bytes of a command at most; no table that fits a device is longer.
const MAX_COMMAND: u32 = 64 << 10;
/// Frames in one call.
const STEERED: usize = 64;
