//! Bytes on their way from the host end of a port to the guest.

use std::io::ErrorKind;

use virtio_device::vm_memory::GuestMemory;
use virtio_device::{Chain, QueueError, Virtqueue};

use crate::PortBackend;

/// Bytes that the back-end gave and the guest has not had yet.
///
/// It is filled when it is empty, the guest has a buffer available and the port is open; what does
/// not fit that buffer waits here. So a buffer is only taken once there is something for it, and
/// none is in flight between calls.
#[derive(Debug, Default)]
pub(crate) struct Receive {
    /// Allocated once, at the first use.
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

/// Why a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// The guest has no buffers left; it will notify.
    Starved,
    /// The back-end has nothing; its descriptor will say.
    Waiting,
    /// Nothing will come from this peer any more.
    Ended,
    /// Neither has come to its end: call again.
    Again,
}

impl Receive {
    /// Moves bytes from `source` to the buffers of `queue`; without a source only those at hand.
    /// Calls `bad` for each buffer that is not guest memory.
    pub(crate) fn run<M: GuestMemory>(
        &mut self,
        queue: &mut Virtqueue<'_, M>,
        mut source: Option<&mut (dyn PortBackend + 'static)>,
        chain: &mut Chain,
        bad: &mut dyn FnMut(),
    ) -> Result<Received, QueueError> {
        let mut budget = BUDGET;
        loop {
            if !self.deliver(queue, chain, bad)? {
                return Ok(Received::Starved);
            }
            // Nothing is popped before there are bytes, so the queue is armed here.
            if !queue.has_available() && !queue.arm() {
                return Ok(Received::Starved);
            }
            let Some(source) = source.as_deref_mut() else {
                return Ok(Received::Waiting);
            };
            if budget == 0 {
                return Ok(Received::Again);
            }
            match self.fill(source) {
                Ok(read) => budget = budget.saturating_sub(read),
                Err(end) => return Ok(end),
            }
        }
    }

    /// Whether nothing is at hand.
    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The bytes at hand.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Forgets what is at hand, for `bytes`, of which there are at most [`CAPACITY`].
    pub(crate) fn replace(&mut self, bytes: &[u8]) {
        self.clear();
        if bytes.is_empty() {
            return;
        }
        self.allocate();
        for (to, from) in self.bytes.iter_mut().zip(bytes) {
            *to = *from;
            self.end += 1;
        }
    }

    /// Forgets what is at hand.
    pub(crate) fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// Writes what is at hand to the guest. False where its buffers do not suffice.
    fn deliver<M: GuestMemory>(
        &mut self,
        queue: &mut Virtqueue<'_, M>,
        chain: &mut Chain,
        bad: &mut dyn FnMut(),
    ) -> Result<bool, QueueError> {
        while !self.is_empty() {
            if !queue.pop(chain)? {
                return Ok(false);
            }
            let len = self.bytes().len().min(chain.writable_len() as usize);
            let part = self.bytes().get(..len).unwrap_or_default();
            if chain.write_at(queue.view(), 0, part).is_ok() {
                self.start += len;
                queue.push(chain, len as u32);
            } else {
                bad();
                queue.push(chain, 0);
            }
        }
        Ok(true)
    }

    /// Asks the back-end. Called empty.
    fn fill(&mut self, source: &mut dyn PortBackend) -> Result<usize, Received> {
        self.clear();
        self.allocate();
        match source.read(&mut self.bytes) {
            Ok(0) => Err(Received::Ended),
            Ok(read) => {
                self.end = read.min(self.bytes.len());
                Ok(self.end)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(Received::Waiting),
            Err(error) if error.kind() == ErrorKind::Interrupted => Err(Received::Again),
            Err(error) => {
                log::debug!("a port's back-end cannot be read: {error}");
                Err(Received::Ended)
            }
        }
    }

    fn allocate(&mut self) {
        if self.bytes.is_empty() {
            self.bytes = vec![0; CAPACITY].into();
        }
    }
}

/// Bytes at hand at most.
pub(crate) const CAPACITY: usize = 64 << 10;
/// Bytes in one call, after which other ports have their turn.
const BUDGET: usize = 256 << 10;
