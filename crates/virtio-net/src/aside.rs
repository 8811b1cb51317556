//! Frames that are not read straight into the buffers of the queue that they are for: those that another
//! pair has read, and those that were longer than expected.

use virtio_device::vm_memory::GuestMemory;
use virtio_device::{QueueError, Virtqueue};

use crate::guest_io::Iovecs;
use crate::hash::Hash;
use crate::header::{HEADER, Header};
use crate::receive::{Received, Receiver, Step};
use crate::terms::Terms;
use crate::{Line, features as f, flow};

/// A frame that was read, and may be for any queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Aside {
    pub(crate) header: Header,
    pub(crate) hash: Option<Hash>,
    /// In bytes.
    pub(crate) len: usize,
}

impl Receiver {
    /// Reads a frame of `line` that may be for another queue.
    pub(crate) fn read_aside(
        &mut self,
        line: &mut impl Line,
        terms: &Terms<'_>,
    ) -> Result<Option<Aside>, Received> {
        self.allocate();
        let mut head = [0; HEADER];
        let mut iovecs = Iovecs::<()>::new(&mut self.storage);
        if terms.facts.header {
            iovecs.push_bytes(&mut head);
        }
        iovecs.push_bytes(&mut self.bytes);
        let result = line.receive(&mut iovecs);
        drop(iovecs);
        let Some(len) = self.outcome(result)? else {
            return Ok(None);
        };
        Ok(terms.frame(len).and_then(|len| {
            let start = self.bytes.get(..len.min(flow::LOOKS_AT as usize))?;
            let (header, hash) = terms.admit(head, start, len)?;
            Some(Aside { header, hash, len })
        }))
    }

    /// Lends the room in which [`read_aside`](Self::read_aside) has left a frame.
    pub(crate) fn lend(&mut self) -> Box<[u8]> {
        std::mem::take(&mut self.bytes)
    }

    /// Takes it back.
    pub(crate) fn take_back(&mut self, bytes: Box<[u8]>) {
        self.bytes = bytes;
    }

    /// Gives the driver `frame`, which another pair has read; false where it has too few buffers.
    pub(crate) fn deliver<M: GuestMemory>(
        &mut self,
        queue: &mut Virtqueue<'_, M>,
        (header, hash): (Header, Option<Hash>),
        frame: &[u8],
        terms: &Terms<'_>,
    ) -> Result<bool, QueueError> {
        let header_len = terms.negotiated.header_len;
        let total = header_len as usize + frame.len();
        let goes_on = self.fill(queue, total as u64, terms)?;
        if (total as u64) > self.window.room() {
            // A frame that would never fit is lost.
            return Ok(!goes_on || !terms.negotiated.has(f::MRG_RXBUF));
        }
        self.window.write(queue.view(), header_len, frame);
        self.commit(queue, (header, hash), total as u64, terms);
        Ok(true)
    }

    /// Gives the driver the frame that was kept, if it has buffers for it now.
    pub(crate) fn deliver_kept<M: GuestMemory>(
        &mut self,
        queue: &mut Virtqueue<'_, M>,
        terms: &Terms<'_>,
    ) -> Step {
        let Some((header, len)) = self.kept else {
            return Ok(None);
        };
        let bytes = std::mem::take(&mut self.bytes);
        let frame = bytes.get(..len).unwrap_or_default();
        let start = frame.get(..len.min(flow::LOOKS_AT as usize));
        let hash = terms.hash(start.unwrap_or_default());
        let delivered = self.deliver(queue, (header, hash), frame, terms);
        self.bytes = bytes;
        if delivered? {
            self.kept = None;
            return Ok(None);
        }
        Ok(Some(Received::Starved))
    }
}
