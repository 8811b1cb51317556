//! One port at work: its two directions, its host end and what the guest knows of it.

use std::time::{Duration, Instant};

use virtio_device::{AddressSpace, ByteOrder, Chain, Cx, QueueError};

use crate::control::encode;
use crate::dialogue::{Dialogue, Notice};
use crate::queues::{receive_queue, transmit_queue};
use crate::receive::{Receive, Received};
use crate::transmit::{Sink, Transmit, Transmitted};
use crate::watch::Watches;
use crate::{Port, PortBackend, PortKind};

/// A port of this number, wherever it is: with the worker or, between activations, the device.
pub(crate) struct PortState {
    number: u16,
    kind: PortKind,
    name: String,
    backend: Box<dyn PortBackend>,
    pub(crate) dialogue: Dialogue,
    pub(crate) receive: Receive,
    pub(crate) transmit: Transmit,
    connected: bool,
    /// The peer sends no more.
    ended: bool,
    /// The back-end had nothing when it was read last.
    waiting: bool,
    /// Since when it has taken nothing; `None` while it takes.
    blocked: Option<Instant>,
    /// It was waited for long enough: until it takes bytes again, they are dropped.
    impatient: bool,
    watches: Watches,
}

impl PortState {
    pub(crate) fn new(number: u16, port: Port) -> Self {
        let Port {
            kind,
            props,
            backend,
        } = port;
        Self {
            number,
            kind,
            name: props.name.unwrap_or_default(),
            backend,
            dialogue: Dialogue::default(),
            receive: Receive::default(),
            transmit: Transmit::default(),
            connected: false,
            ended: false,
            waiting: false,
            blocked: None,
            impatient: false,
            watches: Watches::default(),
        }
    }

    /// Back to a port that no driver has seen.
    pub(crate) fn reset(&mut self) {
        let Self {
            number: _,
            kind: _,
            name: _,
            backend,
            dialogue,
            receive,
            transmit,
            connected,
            ended,
            waiting,
            blocked,
            impatient,
            watches,
        } = self;
        transmit.reset(&mut Sink {
            backend: connected.then_some(&mut **backend),
            impatient: true,
            progress: false,
        });
        if dialogue.guest_open {
            backend.guest_opened(false);
        }
        receive.clear();
        *dialogue = Dialogue::default();
        (*connected, *ended, *waiting) = (false, false, false);
        (*blocked, *impatient) = (None, false);
        *watches = Watches::default();
    }

    /// Sees who came and went at the host end. A peer that took the place of another is both.
    pub(crate) fn refresh<AS: AddressSpace>(&mut self, cx: &mut Cx<'_, AS>) {
        if self.connected && !self.backend.is_connected() {
            self.connected = false;
            // Its descriptor may be closed, and its number the next one's.
            self.watches.clear(cx, self.number);
            self.transmit.abandon();
        }
        if !self.connected {
            self.connected = self.backend.poll_connected();
            if self.connected {
                self.ended = false;
                // Whether the guest has room shows when there is something for it.
                self.waiting = true;
                self.dialogue.host_opened();
            }
        }
    }

    /// Moves bytes to the guest. True if there is more to do at once.
    pub(crate) fn receive<AS: AddressSpace>(
        &mut self,
        cx: &mut Cx<'_, AS>,
        chain: &mut Chain,
    ) -> Result<bool, QueueError> {
        self.refresh(cx);
        self.waiting = false;
        if !self.dialogue.guest_open {
            return Ok(false);
        }
        let host = cx.host();
        let Some(mut queue) = cx.queue(receive_queue(self.number)) else {
            return Ok(false);
        };
        let source = (self.connected && !self.ended).then_some(&mut *self.backend);
        let received = self
            .receive
            .run(&mut queue, source, chain, &mut || host.needs_reset());
        drop(queue);
        self.waiting = matches!(received, Ok(Received::Waiting));
        self.ended |= matches!(received, Ok(Received::Ended));
        self.refresh(cx);
        received.map(|received| received == Received::Again)
    }

    /// Moves bytes of the guest. True if there is more to do at once.
    pub(crate) fn transmit<AS: AddressSpace>(
        &mut self,
        cx: &mut Cx<'_, AS>,
        scratch: &mut [u8],
    ) -> Result<bool, QueueError> {
        self.refresh(cx);
        let host = cx.host();
        let mut queue = cx.queue(transmit_queue(self.number));
        let mut sink = Sink {
            backend: self.connected.then_some(&mut *self.backend),
            impatient: self.impatient,
            progress: false,
        };
        let bad = &mut || host.needs_reset();
        let transmitted = self.transmit.run(queue.as_mut(), &mut sink, scratch, bad);
        let progress = sink.progress;
        drop(queue);
        self.impatient &= !progress;
        let blocked = matches!(transmitted, Ok(Transmitted::Blocked));
        let since = self.blocked.filter(|_| blocked && !progress);
        self.blocked = blocked.then(|| since.unwrap_or_else(Instant::now));
        self.refresh(cx);
        transmitted.map(|transmitted| transmitted == Transmitted::Again)
    }

    /// Whether bytes wait for a back-end that nobody is at any more.
    pub(crate) fn is_stranded(&self) -> bool {
        self.blocked.is_some() && !self.connected
    }

    /// Writes a character that has no place in any queue, if the back-end takes it.
    pub(crate) fn emergency(&mut self, character: u8) {
        // There is nobody to tell if it does not.
        let _ = self.backend.write(&[character]);
    }

    /// Watches the back-end for what this port waits for. A peer that comes is always waited for;
    /// one that is there and has something to say only while the guest has room for it.
    pub(crate) fn watch<AS: AddressSpace>(&mut self, cx: &mut Cx<'_, AS>) {
        let read = !self.connected || (self.waiting && !self.ended);
        let write = self.connected && self.blocked.is_some();
        self.watches
            .set(cx, self.number, &*self.backend, (read, write));
    }

    /// The device is about to stop.
    pub(crate) fn park<AS: AddressSpace>(&mut self, cx: &mut Cx<'_, AS>) {
        if let Some(mut queue) = cx.queue(transmit_queue(self.number)) {
            self.transmit.park(&mut queue);
        }
        self.watches.clear(cx, self.number);
    }

    /// The port is gone.
    pub(crate) fn depart<AS: AddressSpace>(mut self, cx: &mut Cx<'_, AS>) {
        if let Some(mut queue) = cx.queue(transmit_queue(self.number)) {
            self.transmit.give_back(&mut queue);
        }
        self.watches.clear(cx, self.number);
        self.set_guest_open(false);
    }

    /// The port was opened or closed in the guest.
    pub(crate) fn set_guest_open(&mut self, open: bool) {
        if self.dialogue.guest_open != open {
            self.dialogue.guest_open = open;
            self.backend.guest_opened(open);
        }
    }

    /// The driver has set the port up, or failed to.
    pub(crate) fn set_ready(&mut self, ready: bool, sized: bool) {
        let is_console = self.kind == PortKind::Console;
        self.dialogue.port_ready(ready);
        self.dialogue.console_due = is_console;
        self.dialogue.size_due = is_console && sized;
        self.dialogue.name_due = !self.name.is_empty();
    }

    /// The size of consoles changed.
    pub(crate) fn resized(&mut self) {
        self.dialogue.size_due = self.kind == PortKind::Console;
    }

    /// The next message that is due to the guest. A console is open whether or not anybody looks
    /// at it.
    pub(crate) fn notice(&self) -> Option<Notice> {
        let open = self.connected || self.kind == PortKind::Console;
        self.dialogue.next(open)
    }

    /// A message to the guest, encoded.
    pub(crate) fn encode(&self, notice: Notice, size: [u16; 2], order: ByteOrder) -> Vec<u8> {
        encode(notice, self.number, &self.name, size, order)
    }

    /// How much longer the guest is held up by this port; `None` where it is not, or for as long
    /// as it takes. A console must not be: its guest prints with interrupts off, and waits.
    pub(crate) fn patience(&self, limit: Duration, now: Instant) -> Option<Duration> {
        let since = self.blocked.filter(|_| self.kind == PortKind::Console)?;
        Some(limit.saturating_sub(now.saturating_duration_since(since)))
    }

    /// Stops waiting for the back-end.
    pub(crate) fn lose_patience(&mut self) {
        self.impatient = true;
    }
}
