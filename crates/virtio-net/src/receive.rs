//! Frames on their way from a line to the driver (section 5.1.6.4).

use std::io::{self, ErrorKind};

use virtio_device::vm_memory::GuestMemory;
use virtio_device::{Chain, DeviceHost, GuestView, QueueError, Virtqueue};

use crate::guest_io::{Iovecs, Storage};
use crate::hash::{Hash, hash};
use crate::header::{HEADER, Header, Report};
use crate::negotiated::Negotiated;
use crate::rules::Rules;
use crate::window::Window;
use crate::{Facts, Line, features as f, filter, flow};

/// What frames are treated by, for the length of a batch.
#[derive(Clone, Copy)]
pub(crate) struct Terms<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) negotiated: &'a Negotiated,
    pub(crate) facts: Facts,
    pub(crate) link: bool,
    /// 0 for none.
    pub(crate) mtu: u16,
    pub(crate) host: &'a dyn DeviceHost,
}

/// The receiving side of a pair.
///
/// Buffers are popped before it is known whether there is a frame, so that a frame is read straight
/// into them. Those that no frame has come for wait in the window, and are put back before the
/// queue stops. Behind them the line is always given room of our own, so that a frame that
/// is longer than expected is not cut.
#[derive(Debug, Default)]
pub(crate) struct Receiver {
    window: Window,
    expected: Expected,
    storage: Storage,
    /// Allocated at the first use.
    bytes: Box<[u8]>,
    /// A frame in `bytes`, for which the driver has too few buffers.
    kept: Option<(Header, usize)>,
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
type Step = Result<Option<Received>, QueueError>;

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
        let (mut rest, mut skip) = (frame, header_len);
        for chain in self.window.chains() {
            let room = chain.writable_len() - skip;
            let (now, later) = rest.split_at(rest.len().min(room as usize));
            // All of it was found to be guest memory when it was popped.
            let _ = chain.write_at(queue.view(), skip, now);
            (rest, skip) = (later, 0);
            if rest.is_empty() {
                break;
            }
        }
        self.commit(queue, (header, hash), total as u64, terms);
        Ok(true)
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
    fn fill<M: GuestMemory>(
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
    fn outcome(&mut self, result: io::Result<usize>) -> Result<Option<usize>, Received> {
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

    fn deliver_kept<M: GuestMemory>(
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
        self.copy_window(view, there, terms);
        beyond
            .iter_mut()
            .zip(&self.bytes)
            .for_each(|(to, from)| *to = *from);
    }

    /// Copies the start of the frame in the window to `to`.
    fn copy_window<M: GuestMemory>(
        &self,
        view: &mut GuestView<'_, M>,
        to: &mut [u8],
        terms: &Terms<'_>,
    ) {
        let (mut rest, mut skip) = (to, terms.negotiated.header_len);
        for chain in self.window.chains() {
            let len = rest.len().min((chain.writable_len() - skip) as usize);
            let (now, later) = rest.split_at_mut(len);
            copy_written(chain, view, skip, now);
            (rest, skip) = (later, 0);
            if rest.is_empty() {
                return;
            }
        }
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
        self.copy_window(view, bytes.get_mut(..direct).unwrap_or_default(), terms);
        self.bytes = bytes;
    }

    /// Gives the driver the buffers with the first `total` bytes of the window, all at once, after
    /// writing the header.
    fn commit<M: GuestMemory>(
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
        if let (Some(first), Some(bytes)) = (self.window.chains().first(), bytes) {
            let _ = first.write_at(view, 0, bytes);
        }
    }

    fn allocate(&mut self) {
        if self.bytes.is_empty() {
            self.bytes = vec![0; LONGEST].into();
        }
    }
}

/// A frame that was read, and may be for any queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Aside {
    pub(crate) header: Header,
    pub(crate) hash: Option<Hash>,
    /// In bytes.
    pub(crate) len: usize,
}

impl Terms<'_> {
    /// Length of the frame in what a line has given, if it is one.
    fn frame(&self, len: usize) -> Option<usize> {
        let header = if self.facts.header { HEADER } else { 0 };
        len.checked_sub(header)
            .filter(|&len| len > 0 && len <= LONGEST)
    }

    /// Bytes that a frame takes which is not segmented, with the driver's header: no more than the
    /// mergeable buffers have that Linux makes, so that one is enough.
    fn short(&self) -> u64 {
        u64::from(self.negotiated.header_len) + SHORT
    }

    /// How much of a frame has to be looked at.
    fn looks_at(&self) -> usize {
        let hashed = self.rules.steering.hash.is_some();
        let looked = match (hashed, self.rules.filter.is_open() && self.mtu == 0) {
            (true, _) => flow::LOOKS_AT,
            (false, false) => filter::LOOKS_AT,
            (false, true) => 0,
        };
        looked as usize
    }

    /// Whether the driver gets a frame of `len` bytes that begins with `start`, with which header and
    /// hash.
    fn admit(
        &self,
        head: [u8; HEADER],
        start: &[u8],
        len: usize,
    ) -> Option<(Header, Option<Hash>)> {
        let taken = self.rules.taken.unwrap_or_default();
        let header = Header::parse(head, virtio_device::ByteOrder::Little).for_driver(taken)?;
        let fits = self.mtu == 0
            || !self.negotiated.has(f::MTU)
            || !header.is_one_frame()
            || len <= usize::from(self.mtu) + link_header(start);
        let wanted = self.link && fits && self.rules.filter.passes(start, self.negotiated);
        wanted.then(|| (header, self.hash(start)))
    }

    fn hash(&self, start: &[u8]) -> Option<Hash> {
        let rules = self.rules.steering.hash?;
        hash(start, rules.types, &rules.key)
    }
}

/// How much of the window a frame is expected to need: much for a while after one did.
#[derive(Clone, Copy, Debug, Default)]
struct Expected {
    /// Short frames until the next is expected to be short.
    large: u16,
}

impl Expected {
    fn bytes(self, terms: &Terms<'_>) -> u64 {
        if self.large > 0 {
            LONGEST as u64
        } else {
            terms.short()
        }
    }

    fn learn(&mut self, len: u64, terms: &Terms<'_>) {
        self.large = if len > terms.short() {
            PATIENCE
        } else {
            self.large.saturating_sub(1)
        };
    }
}

/// Whether a frame could go into `chain`.
fn is_of_use<M: GuestMemory>(
    chain: &Chain,
    view: &mut GuestView<'_, M>,
    terms: &Terms<'_>,
) -> bool {
    let len = chain.writable_len();
    let is_memory = chain.writable_slices(view, 0, len, |_| ()).is_ok();
    if !is_memory {
        terms.host.needs_reset();
    }
    is_memory && len > terms.negotiated.header_len
}

/// Bytes of a frame before what its MTU counts.
fn link_header(start: &[u8]) -> usize {
    match start.get(12..14) {
        Some([0x81, 0x00]) => 18,
        _ => 14,
    }
}

/// Copies what was written to the buffers of `chain`, from byte `offset` on.
fn copy_written<M: GuestMemory>(
    chain: &Chain,
    view: &mut GuestView<'_, M>,
    offset: u32,
    to: &mut [u8],
) {
    let len = to.len() as u32;
    let mut rest = to;
    // All of it was found to be guest memory when it was popped.
    let _ = chain.writable_slices(view, offset, len, |slice| {
        let (now, later) = std::mem::take(&mut rest).split_at_mut(slice.len());
        slice.copy_to(now);
        rest = later;
    });
}

/// Frames in one call, after which others have their turn.
const BATCH: usize = 64;
/// Of a frame: 64 KiB and what goes before it.
pub(crate) const LONGEST: usize = 4096 + (64 << 10);
/// Of a frame that is not segmented: 1500 bytes after addresses, type and tag.
const SHORT: u64 = 1518;
/// Short frames in a row after which no long one is expected.
const PATIENCE: u16 = 64;
/// Errors in a row after which a line is taken for gone.
const MOST_ERRORS: u8 = 16;
