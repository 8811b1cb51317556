//! Frames on their way from a line to the driver (section 5.1.6.4).

use std::io::{self, ErrorKind};

use virtio_device::vm_memory::{GuestMemory, Permissions};
use virtio_device::{Chain, GuestView, QueueError, Virtqueue};

use crate::expected::Expected;
use crate::guest_io::{Iovecs, Storage};
use crate::hash::Hash;
use crate::header::{HEADER, Header, Report};
use crate::terms::{LONGEST, Terms};
use crate::window::Window;
use crate::{Line, features as f, flow};

/// The receiving side of a pair.
///
/// Buffers are popped before it is known whether there is a frame, so that a frame is read straight
/// into them. Those that no frame has come for wait in the window, and are put back before the
/// queue stops. Behind them the line is always given room of our own, so that a frame that
/// is longer than expected is not cut.
#[derive(Debug, Default)]
pub(crate) struct Receiver {
    pub(crate) window: Window,
    expected: Expected,
    pub(crate) storage: Storage,
    /// Room of our own. Allocated at the first use.
    pub(crate) bytes: Box<[u8]>,
    /// A frame in `bytes`, for which the driver has too few buffers.
    pub(crate) kept: Option<(Header, usize)>,
    errors: u8,
}

/// Why a batch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// The driver has no buffers left; it will notify.
    Starved,
    /// There are no frames; the line will say.
    Waiting,
    /// There never will be one again.
    Ended,
    /// Neither has come to its end: call again.
    Again,
}

/// Why a batch ends after one more frame, if it does.
pub(crate) type Step = Result<Option<Received>, QueueError>;

impl Receiver {
    /// Moves frames from `line` to `queue`.
    pub(crate) fn run<M: GuestMemory>(
        &mut self,
        queue: &mut Virtqueue<'_, M>,
        line: &mut impl Line,
        terms: &Terms<'_>,
    ) -> Result<Received, QueueError> {
        for _ in 0..BATCH {
            if let Some(end) = self.step(queue, line, terms)? {
                return Ok(end);
            }
        }
        Ok(Received::Again)
    }

    /// Puts back buffers that no frame has come for.
    pub(crate) fn put_back<M: GuestMemory>(&mut self, queue: Option<&mut Virtqueue<'_, M>>) {
        self.window.put_back(queue);
    }

    /// As new.
    pub(crate) fn reset(&mut self) {
        *self = Self {
            bytes: std::mem::take(&mut self.bytes),
            ..Self::default()
        };
    }

    #[inline(always)]
    fn step<M: GuestMemory>(
        &mut self,
        queue: &mut Virtqueue<'_, M>,
        line: &mut impl Line,
        terms: &Terms<'_>,
    ) -> Step {
        if self.kept.is_some() {
            return self.deliver_kept(queue, terms);
        }
        self.fill(queue, self.expected.bytes(terms), terms)?;
        if self.window.is_empty() {
            return Ok(Some(Received::Starved));
        }
        let (mut head, mut offered) = ([0; HEADER], 0);
        let result = self.read(queue.view(), line, terms, &mut head, &mut offered);
        match self.outcome(result) {
            Ok(Some(len)) => match terms.frame(len) {
                Some(len) => self.take(queue, head, (len, offered), terms),
                None => Ok(None),
            },
            Ok(None) => Ok(None),
            Err(end) => Ok(Some(end)),
        }
    }

    /// Pops buffers until the window has `wanted` bytes, or the driver has no more. Without
    /// VIRTIO_NET_F_MRG_RXBUF one is all that a frame can have. False where one that is of no use for
    /// any frame is in the way.
    pub(crate) fn fill<M: GuestMemory>(
        &mut self,
        queue: &mut Virtqueue<'_, M>,
        wanted: u64,
        terms: &Terms<'_>,
    ) -> Result<bool, QueueError> {
        let merges = terms.negotiated.has(f::MRG_RXBUF);
        while self.window.is_empty() || (merges && self.window.room() < wanted) {
            let first = self.window.is_empty();
            let chain = self.window.spare();
            if !queue.pop(chain)? {
                break;
            }
            if is_of_use(chain, queue.view(), terms) {
                self.window.grow();
            } else if first {
                queue.push(chain, 0);
            } else {
                // Those before it could not be put back if it were used before them.
                queue.unpop(chain);
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads a frame into the window, as far as one is expected to need it, and what goes beyond
    /// into our own room. `offered` becomes the bytes of the former, driver's header included.
    #[inline(always)]
    fn read<M: GuestMemory>(
        &mut self,
        view: &mut GuestView<'_, M>,
        line: &mut impl Line,
        terms: &Terms<'_>,
        head: &mut [u8; HEADER],
        offered: &mut u64,
    ) -> io::Result<usize> {
        self.allocate();
        let expected = self.expected.bytes(terms);
        let mut iovecs = Iovecs::new(&mut self.storage);
        if terms.facts.header {
            iovecs.push_bytes(head);
        }
        let mut skip = terms.negotiated.header_len;
        for chain in self.window.chains() {
            if *offered >= expected && *offered > 0 {
                break;
            }
            let len = chain.writable_len();
            chain.writable_slices(view, skip, len - skip, |slice| iovecs.push(slice))?;
            *offered += u64::from(len);
            skip = 0;
        }
        iovecs.push_bytes(&mut self.bytes);
        line.receive(&mut iovecs)
    }

    /// What came of a call of the line: a frame, none, or the end of the batch.
    #[inline]
    pub(crate) fn outcome(&mut self, result: io::Result<usize>) -> Result<Option<usize>, Received> {
        match result {
            Ok(len) => {
                self.errors = 0;
                Ok(Some(len))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(Received::Waiting),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(Received::Ended),
            Err(error) => {
                log::debug!("a frame could not be received: {error}");
                self.errors = self.errors.saturating_add(1);
                match self.errors {
                    ..MOST_ERRORS => Ok(None),
                    _ => Err(Received::Ended),
                }
            }
        }
    }

    /// Gives the driver the frame of `len` bytes that was read, of which all but the driver's header
    /// were put into the `offered` first bytes of the window.
    fn take<M: GuestMemory>(
        &mut self,
        queue: &mut Virtqueue<'_, M>,
        head: [u8; HEADER],
        (len, offered): (usize, u64),
        terms: &Terms<'_>,
    ) -> Step {
        let header_len = u64::from(terms.negotiated.header_len);
        let direct = (len as u64).min(offered - header_len) as usize;
        let mut start = [0; flow::LOOKS_AT as usize];
        let looked = terms.looks_at().min(len).min(start.len());
        let start = start.get_mut(..looked).unwrap_or_default();
        if looked > 0 {
            self.peek(queue.view(), start, direct, terms);
        }
        let Some(admitted) = terms.admit(head, start, len) else {
            return Ok(None);
        };
        let total = header_len + len as u64;
        self.expected.learn(total, terms);
        if direct == len {
            self.commit(queue, admitted, total, terms);
            return Ok(None);
        }
        if !terms.negotiated.has(f::MRG_RXBUF) {
            // Longer than the driver has room for.
            return Ok(None);
        }
        self.keep(queue.view(), len, direct, terms);
        self.kept = Some((admitted.0, len));
        self.deliver_kept(queue, terms)
    }

    /// Copies the start of the frame that was read out of guest memory, once: what is decided by it
    /// cannot change meanwhile.
    fn peek<M: GuestMemory>(
        &self,
        view: &mut GuestView<'_, M>,
        start: &mut [u8],
        direct: usize,
        terms: &Terms<'_>,
    ) {
        let (there, beyond) = start.split_at_mut(start.len().min(direct));
        self.window.read(view, terms.negotiated.header_len, there);
        beyond
            .iter_mut()
            .zip(&self.bytes)
            .for_each(|(to, from)| *to = *from);
    }

    /// Brings the frame of `len` bytes together in our own room. Its first `direct` bytes are in the
    /// window, the others in that room already.
    fn keep<M: GuestMemory>(
        &mut self,
        view: &mut GuestView<'_, M>,
        len: usize,
        direct: usize,
        terms: &Terms<'_>,
    ) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.copy_within(..len - direct, direct);
        let start = bytes.get_mut(..direct).unwrap_or_default();
        self.window.read(view, terms.negotiated.header_len, start);
        self.bytes = bytes;
    }

    /// Gives the driver the buffers with the first `total` bytes of the window, all at once, after
    /// writing the header.
    pub(crate) fn commit<M: GuestMemory>(
        &mut self,
        queue: &mut Virtqueue<'_, M>,
        (header, hash): (Header, Option<Hash>),
        total: u64,
        terms: &Terms<'_>,
    ) {
        let count = self.window.count(total);
        self.write_header(queue.view(), (header, hash), count as u16, terms);
        self.window.push(queue, count, total);
    }

    fn write_header<M: GuestMemory>(
        &self,
        view: &mut GuestView<'_, M>,
        (header, hash): (Header, Option<Hash>),
        num_buffers: u16,
        terms: &Terms<'_>,
    ) {
        let Hash { value, report } = hash.unwrap_or_default();
        let bytes = header.to_driver(
            Report {
                num_buffers,
                hash_value: value,
                hash_type: report,
            },
            terms.negotiated.order,
        );
        let bytes = bytes.get(..terms.negotiated.header_len as usize);
        self.window.write(view, 0, bytes.unwrap_or_default());
    }

    #[inline]
    pub(crate) fn allocate(&mut self) {
        if self.bytes.is_empty() {
            self.bytes = vec![0; LONGEST].into();
        }
    }
}

/// Whether a frame could go into `chain`.
fn is_of_use<M: GuestMemory>(
    chain: &Chain,
    view: &mut GuestView<'_, M>,
    terms: &Terms<'_>,
) -> bool {
    let mut buffers = chain.writable().iter();
    let is_memory =
        buffers.all(|buffer| view.check(buffer.address, buffer.len, Permissions::Write));
    if !is_memory {
        terms.host.needs_reset();
    }
    is_memory && chain.writable_len() > terms.negotiated.header_len
}

/// Frames in one call, after which others have their turn.
const BATCH: usize = 64;
/// Errors in a row after which a line is taken for gone.
const MOST_ERRORS: u8 = 16;
