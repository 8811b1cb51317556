//! A pair of queues with its line.

use std::io;
use std::os::fd::AsFd;

use virtio_device::vm_memory::GuestMemory;
use virtio_device::{AddressSpace, Cx, Interest, Progress, QueueError, Source, Timer, Virtqueue};

use crate::Line;
use crate::coalesce::Coalesce;
use crate::hash::Hash;
use crate::header::Header;
use crate::receive::{Received, Receiver};
use crate::shared::Shared;
use crate::terms::Terms;
use crate::transmit::{Transmitted, Transmitter};

/// What a worker keeps of a pair, and hands back when it stops.
pub(crate) struct Pair<L> {
    pub(crate) index: u16,
    pub(crate) line: L,
    pub(crate) receiver: Receiver,
    transmitter: Transmitter,
    /// Nothing will come from the line any more.
    ended: bool,
    /// That has been told.
    end_told: bool,
    /// What the event loop watches of the line: input, output.
    watched: [bool; 2],
    /// When interrupts that are held back are due.
    timer: Timer,
    /// The rings that the queues had when they were looked at last.
    rings: [Option<u64>; 2],
}

impl<L: Line> Pair<L> {
    pub(crate) fn new(index: u16, line: L) -> io::Result<Self> {
        Ok(Self {
            index,
            line,
            receiver: Receiver::default(),
            transmitter: Transmitter::default(),
            ended: false,
            end_told: false,
            watched: [false; 2],
            timer: Timer::new()?,
            rings: [None; 2],
        })
    }

    /// Its two queues: receive, transmit.
    pub(crate) fn queues(&self) -> [u16; 2] {
        [2 * self.index, 2 * self.index + 1]
    }

    /// Moves frames from the line to the driver.
    pub(crate) fn receive<AS: AddressSpace>(
        &mut self,
        cx: &mut Cx<'_, AS>,
        terms: &Terms<'_>,
    ) -> Result<Progress, QueueError> {
        let [index, _] = self.queues();
        let Some(mut queue) = cx.queue(index).filter(|_| !self.ended) else {
            self.watch(cx, INPUT, false);
            return Ok(Progress::Idle);
        };
        let coalesce = terms.rules.coalescing.of(index);
        hold(&mut queue, coalesce);
        let received = self.receiver.run(&mut queue, &mut self.line, terms);
        release(&mut queue, coalesce, &mut self.timer);
        drop(queue);
        Ok(self.after(cx, received?))
    }

    /// Gives the driver a frame that another pair has read. It is lost where there is no buffer.
    pub(crate) fn accept<AS: AddressSpace>(
        &mut self,
        cx: &mut Cx<'_, AS>,
        admitted: (Header, Option<Hash>),
        frame: &[u8],
        terms: &Terms<'_>,
    ) -> Result<(), QueueError> {
        let [index, _] = self.queues();
        let Some(mut queue) = cx.queue(index) else {
            return Ok(());
        };
        let coalesce = terms.rules.coalescing.of(index);
        hold(&mut queue, coalesce);
        let delivered = self.receiver.deliver(&mut queue, admitted, frame, terms);
        release(&mut queue, coalesce, &mut self.timer);
        delivered.map(drop)
    }

    /// Whether the line has come to its end, said once.
    pub(crate) fn take_end(&mut self) -> bool {
        let told = std::mem::replace(&mut self.end_told, self.ended);
        self.ended && !told
    }

    /// Watches what the end of a batch asks for.
    pub(crate) fn after<AS: AddressSpace>(
        &mut self,
        cx: &mut Cx<'_, AS>,
        received: Received,
    ) -> Progress {
        self.ended |= received == Received::Ended;
        self.watch(
            cx,
            INPUT,
            matches!(received, Received::Waiting | Received::Again),
        );
        match received {
            Received::Again => Progress::Again,
            Received::Starved | Received::Waiting | Received::Ended => Progress::Idle,
        }
    }

    /// Moves frames from the driver to the line.
    pub(crate) fn transmit<AS: AddressSpace>(
        &mut self,
        cx: &mut Cx<'_, AS>,
        terms: &Terms<'_>,
    ) -> Result<Progress, QueueError> {
        let [_, index] = self.queues();
        let Some(mut queue) = cx.queue(index) else {
            self.watch(cx, OUTPUT, false);
            return Ok(Progress::Idle);
        };
        let coalesce = terms.rules.coalescing.of(index);
        hold(&mut queue, coalesce);
        let transmitted = self.transmitter.run(&mut queue, &mut self.line, terms);
        release(&mut queue, coalesce, &mut self.timer);
        drop(queue);
        let blocked = transmitted? == Transmitted::Blocked;
        self.watch(cx, OUTPUT, blocked);
        Ok(Progress::Idle)
    }

    /// Sends a frame that tells where the device is.
    pub(crate) fn announce(&mut self, terms: &Terms<'_>) {
        let mac = terms.rules.filter.mac;
        let header = terms.facts.header;
        self.transmitter.announce(&mut self.line, mac, header);
    }

    /// Lets interrupts go that were held back for as long as they may be.
    pub(crate) fn let_go<AS: AddressSpace>(&mut self, cx: &mut Cx<'_, AS>) {
        self.timer.disarm();
        for index in self.queues() {
            if let Some(mut queue) = cx.queue(index) {
                queue.hold_interrupts(false);
            }
        }
    }

    /// Takes note of queues that the driver has enabled, disabled, or enabled anew.
    pub(crate) fn look<AS: AddressSpace>(&mut self, cx: &mut Cx<'_, AS>, shared: &Shared) {
        for (index, seen) in self.queues().into_iter().zip(&mut self.rings) {
            let ring = cx.queue(index).map(|queue| queue.ring().identity());
            shared.set_enabled(index, ring.is_some());
            if let Some(ring) = ring
                && seen.replace(ring).is_some_and(|before| before != ring)
            {
                shared.change().coalescing.renew(index);
            }
        }
    }

    /// The descriptors of its own that are watched from the start.
    pub(crate) fn sources(&self, shared: &Shared, add: &mut dyn FnMut(Source<'_>)) {
        let wake = shared.wake_fd(self.index).map(|fd| (WAKE, fd));
        for (which, fd) in wake.into_iter().chain([(TIMER, self.timer.as_fd())]) {
            add(Source {
                token: token(self.index, which),
                fd,
                interest: Interest::Read,
            });
        }
    }

    /// Watches the line no more, until somebody asks.
    pub(crate) fn rest<AS: AddressSpace>(&mut self, cx: &mut Cx<'_, AS>) {
        self.watch(cx, INPUT, false);
    }

    /// Gives back what it has of the driver.
    pub(crate) fn quiesce<AS: AddressSpace>(&mut self, cx: &mut Cx<'_, AS>) {
        let [receive, _] = self.queues();
        self.receiver.put_back(cx.queue(receive).as_mut());
        self.let_go(cx);
        self.watched = [false; 2];
    }

    /// As new, but for the line.
    pub(crate) fn reset(&mut self) {
        self.receiver.reset();
        self.rings = [None; 2];
        self.timer.disarm();
    }

    /// Has the event loop watch one side of the line, or not. A line that cannot be watched is one
    /// that nothing comes from.
    fn watch<AS: AddressSpace>(&mut self, cx: &mut Cx<'_, AS>, which: u16, on: bool) {
        let (input, index) = (which == INPUT, usize::from(which));
        if self.watched.get(index) == Some(&on) {
            return;
        }
        let token = token(self.index, which);
        let (fd, interest) = match input {
            true => (self.line.input(), Interest::Read),
            false => self.line.output(),
        };
        let watched = if on {
            cx.watch(Source {
                token,
                fd,
                interest,
            })
            .is_ok()
        } else {
            cx.unwatch(token);
            false
        };
        if let Some(state) = self.watched.get_mut(index) {
            *state = watched;
        }
    }
}

/// Interrupts of `queue` wait, if they are coalesced.
fn hold<M: GuestMemory>(queue: &mut Virtqueue<'_, M>, coalesce: Coalesce) {
    queue.hold_interrupts(coalesce.delay().is_some());
}

/// Lets them go if there are enough, or sees to it that they are let go in time.
fn release<M: GuestMemory>(queue: &mut Virtqueue<'_, M>, coalesce: Coalesce, timer: &mut Timer) {
    let Some(delay) = coalesce.delay() else {
        return;
    };
    if queue.unsignalled() >= coalesce.max_packets.into() {
        queue.hold_interrupts(false);
    } else if queue.unsignalled() > 0 {
        timer.arm(delay);
    }
}

/// The token of one of the descriptors of a pair.
fn token(pair: u16, which: u16) -> u16 {
    pair * PER_PAIR + which
}

/// The pair and which of its descriptors a token is of.
pub(crate) fn of_token(token: u16) -> (u16, u16) {
    (token / PER_PAIR, token % PER_PAIR)
}

pub(crate) const INPUT: u16 = 0;
pub(crate) const OUTPUT: u16 = 1;
pub(crate) const TIMER: u16 = 2;
pub(crate) const WAKE: u16 = 3;
const PER_PAIR: u16 = 4;
