//! Frames on their way from the driver to a line (section 5.1.6.2).

use std::io::{self, ErrorKind};

use virtio_device::vm_memory::GuestMemory;
use virtio_device::{Chain, QueueError, Virtqueue};

use crate::guest_io::{Iovecs, Storage};
use crate::header::{HEADER, Header};
use crate::terms::{LONGEST, Terms};
use crate::{Line, Mac, announce};

/// The transmitting side of a pair. It has no buffer of the driver between calls: one that the line
/// does not take is put back.
#[derive(Debug, Default)]
pub(crate) struct Transmitter {
    chain: Chain,
    storage: Storage,
}

/// Why a batch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transmitted {
    /// The driver has sent no more, or has had its share.
    Idle,
    /// The line takes no more; it will say.
    Blocked,
}

impl Transmitter {
    /// Moves frames from `queue` to `line`.
    pub(crate) fn run<M: GuestMemory>(
        &mut self,
        queue: &mut Virtqueue<'_, M>,
        line: &mut impl Line,
        terms: &Terms<'_>,
    ) -> Result<Transmitted, QueueError> {
        if is_blocked(&line.flush()) {
            return Ok(Transmitted::Blocked);
        }
        while queue.pop(&mut self.chain)? {
            if is_blocked(&self.send(queue, line, terms)) {
                queue.unpop(&mut self.chain);
                return Ok(Transmitted::Blocked);
            }
            queue.push(&mut self.chain, 0);
        }
        Ok(match is_blocked(&line.flush()) {
            true => Transmitted::Blocked,
            false => Transmitted::Idle,
        })
    }

    /// Sends a frame that tells the network where the device is. A line that is busy loses it.
    pub(crate) fn announce(&mut self, line: &mut impl Line, mac: Mac, has_header: bool) {
        let (mut head, mut frame) = ([0; HEADER], announce::frame(mac));
        let mut iovecs = Iovecs::<()>::new(&mut self.storage);
        if has_header {
            iovecs.push_bytes(&mut head);
        }
        iovecs.push_bytes(&mut frame);
        let _ = line.send(&mut iovecs).and_then(|()| line.flush());
    }

    /// Sends the frame in the chain. One that cannot be sent, whatever the reason, is lost.
    #[inline(always)]
    fn send<M: GuestMemory>(
        &mut self,
        queue: &mut Virtqueue<'_, M>,
        line: &mut impl Line,
        terms: &Terms<'_>,
    ) -> io::Result<()> {
        let header_len = terms.negotiated.header_len;
        let Some(len) = self.chain.readable_len().checked_sub(header_len) else {
            return Ok(());
        };
        if len == 0 || len as usize > LONGEST || !terms.link {
            return Ok(());
        }
        let mut head = [0; HEADER];
        // Of a header with a hash, that is for frames that are received.
        let (known, _) = head.split_at_mut(HEADER.min(header_len as usize));
        let mut outcome = self.chain.read_at(queue.view(), 0, known);
        let header = Header::parse(head, terms.negotiated.order);
        let Some(header) = header.sent_by_driver(terms.negotiated) else {
            return Ok(());
        };
        head = header.to_line();
        let mut iovecs = Iovecs::new(&mut self.storage);
        if terms.facts.header {
            iovecs.push_bytes(&mut head);
        }
        outcome = outcome.and_then(|()| {
            let view = queue.view();
            self.chain
                .readable_slices(view, header_len, len, |slice| iovecs.push(slice))
        });
        if outcome.is_err() {
            terms.host.needs_reset();
            return Ok(());
        }
        line.send(&mut iovecs).inspect_err(|error| {
            if error.kind() != ErrorKind::WouldBlock {
                log::debug!("a frame could not be sent: {error}");
            }
        })
    }
}

fn is_blocked(result: &io::Result<()>) -> bool {
    matches!(result, Err(error) if error.kind() == ErrorKind::WouldBlock)
}
