//! Bytes on their way from the guest to the host end of a port.

use std::collections::VecDeque;
use std::io::ErrorKind;

use virtio_device::vm_memory::GuestMemory;
use virtio_device::{Chain, QueueError, Virtqueue};

use crate::PortBackend;

/// The guest's buffer that is being written, and how far.
///
/// A back-end that takes no more leaves the rest of the buffer where it is, in guest memory, and
/// the queue untouched: the guest feels the pressure, and nothing is stored here. Only
/// [`park`](Self::park) copies, for a device that is about to stop.
#[derive(Debug, Default)]
pub(crate) struct Transmit {
    chain: Chain,
    /// Bytes of the chain that have been written.
    offset: u32,
    /// Bytes of a chain that has been given back to the guest already.
    parked: VecDeque<u8>,
}

/// Why a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transmitted {
    /// The guest has sent no more.
    Idle,
    /// The back-end takes no more; its descriptor will say.
    Blocked,
    /// Neither has come to its end: call again.
    Again,
}

impl Transmit {
    /// Moves bytes from the buffers of `queue`, where there is one, to `sink`, by way of
    /// `scratch`. Calls `bad` for each buffer that is not guest memory, of which nothing is sent.
    pub(crate) fn run<M: GuestMemory>(
        &mut self,
        queue: Option<&mut Virtqueue<'_, M>>,
        sink: &mut Sink<'_>,
        scratch: &mut [u8],
        bad: &mut dyn FnMut(),
    ) -> Result<Transmitted, QueueError> {
        if !self.write_parked(sink) {
            return Ok(Transmitted::Blocked);
        }
        let Some(queue) = queue else {
            self.forget_chain();
            return Ok(Transmitted::Idle);
        };
        // A queue with nothing in flight is not the one that the chain came from: it was reset.
        if queue.ring().in_flight() == 0 {
            self.forget_chain();
        }
        let mut budget = BUDGET;
        loop {
            if !self.chain.is_live() && !self.pop(queue, bad)? {
                return Ok(Transmitted::Idle);
            }
            match self.write_chain(queue, sink, scratch, &mut budget) {
                Transmitted::Idle => queue.push(&mut self.chain, 0),
                other => return Ok(other),
            }
        }
    }

    /// What is half written is for a peer that left: the rest of it is lost.
    pub(crate) fn abandon(&mut self) {
        self.offset = u32::MAX;
        self.parked.clear();
    }

    /// Gives the chain back to the guest and keeps what is left of it, so that the queue can be
    /// stopped. A rest that is longer than [`MAX_PARKED`] stays where it is.
    pub(crate) fn park<M: GuestMemory>(&mut self, queue: &mut Virtqueue<'_, M>) {
        let rest = self.chain.readable_len().saturating_sub(self.offset);
        if !self.chain.is_live() || queue.ring().in_flight() == 0 || rest as usize > MAX_PARKED {
            return;
        }
        let mut bytes = vec![0; rest as usize];
        // The chain was found to be guest memory when it was popped.
        if self
            .chain
            .read_at(queue.view(), self.offset, &mut bytes)
            .is_ok()
        {
            self.parked.extend(bytes);
        }
        queue.push(&mut self.chain, 0);
    }

    /// Gives the chain back to the guest unwritten, for a port that is gone.
    pub(crate) fn give_back<M: GuestMemory>(&mut self, queue: &mut Virtqueue<'_, M>) {
        if self.chain.is_live() && queue.ring().in_flight() > 0 {
            queue.push(&mut self.chain, 0);
        }
    }

    /// Bytes that the guest counts as sent. `None` while part of a buffer that it does not count
    /// as sent has been written: that cannot be saved.
    pub(crate) fn parked(&self) -> Option<Vec<u8>> {
        let whole = !self.chain.is_live();
        whole.then(|| self.parked.iter().copied().collect())
    }

    /// Forgets everything, for `parked`.
    pub(crate) fn replace(&mut self, parked: &[u8]) {
        self.forget_chain();
        self.parked = parked.iter().copied().collect();
    }

    /// Forgets everything; what the guest counts as sent has a last chance.
    pub(crate) fn reset(&mut self, sink: &mut Sink<'_>) {
        self.write_parked(sink);
        self.replace(&[]);
    }

    fn forget_chain(&mut self) {
        if self.chain.is_live() {
            self.chain = Chain::new();
        }
    }

    /// Takes the next chain. The whole of it must be guest memory before any of it is sent.
    fn pop<M: GuestMemory>(
        &mut self,
        queue: &mut Virtqueue<'_, M>,
        bad: &mut dyn FnMut(),
    ) -> Result<bool, QueueError> {
        self.offset = 0;
        while queue.pop(&mut self.chain)? {
            let len = self.chain.readable_len();
            if self
                .chain
                .readable_slices(queue.view(), 0, len, |_| ())
                .is_ok()
            {
                return Ok(true);
            }
            bad();
            queue.push(&mut self.chain, 0);
        }
        Ok(false)
    }

    /// [`Transmitted::Idle`] once the chain is done with.
    fn write_chain<M: GuestMemory>(
        &mut self,
        queue: &mut Virtqueue<'_, M>,
        sink: &mut Sink<'_>,
        scratch: &mut [u8],
        budget: &mut usize,
    ) -> Transmitted {
        let len = self.chain.readable_len();
        while self.offset < len {
            if *budget == 0 {
                return Transmitted::Again;
            }
            let part = scratch.len().min((len - self.offset) as usize);
            let part = scratch.get_mut(..part).unwrap_or_default();
            if self.chain.read_at(queue.view(), self.offset, part).is_err() {
                return Transmitted::Idle;
            }
            match sink.write(part) {
                Wrote::Bytes(written) => {
                    *budget = budget.saturating_sub(written);
                    self.offset += written as u32;
                }
                Wrote::Nothing => return Transmitted::Blocked,
                Wrote::Lost => return Transmitted::Idle,
            }
        }
        Transmitted::Idle
    }

    /// False where the back-end takes no more.
    fn write_parked(&mut self, sink: &mut Sink<'_>) -> bool {
        while !self.parked.is_empty() {
            let (bytes, _) = self.parked.as_slices();
            match sink.write(bytes) {
                Wrote::Bytes(written) => drop(self.parked.drain(..written)),
                Wrote::Nothing => return false,
                Wrote::Lost => self.parked.clear(),
            }
        }
        true
    }
}

/// The host end of a port, as far as it takes bytes.
pub(crate) struct Sink<'a> {
    /// `None` where nobody is there: the bytes are lost.
    pub(crate) backend: Option<&'a mut (dyn PortBackend + 'static)>,
    /// A back-end that takes nothing is not waited for: the bytes are lost.
    pub(crate) impatient: bool,
    /// Whether it has taken any.
    pub(crate) progress: bool,
}

/// What became of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrote {
    /// This many were taken, at least one.
    Bytes(usize),
    /// None can be taken now.
    Nothing,
    /// They are gone, and what belongs to them with them.
    Lost,
}

impl Sink<'_> {
    /// Writes `bytes`, of which there are some.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Wrote {
        let Some(backend) = self.backend.as_deref_mut() else {
            return Wrote::Lost;
        };
        // Without a descriptor, nobody would say when to go on.
        let waits = !self.impatient && backend.output().is_some();
        let result = loop {
            match backend.write(bytes) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => break result,
            }
        };
        match result {
            Ok(written) if written > 0 => {
                self.progress = true;
                Wrote::Bytes(written.min(bytes.len()))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock && waits => Wrote::Nothing,
            _ => Wrote::Lost,
        }
    }
}

/// Bytes that the copies of a call go through at once.
pub(crate) const SCRATCH: usize = 64 << 10;
/// Bytes that are kept of a buffer when the device stops. What Linux writes at once is shorter,
/// unless a pipe that was made longer than usual is spliced.
pub(crate) const MAX_PARKED: usize = 1 << 20;
/// Bytes in one call, after which other ports have their turn.
const BUDGET: usize = 256 << 10;
