//! A descriptor chain, validated as a whole before a device sees it.

use vm_memory::{GuestMemory, Permissions};

use crate::view::Slice;
use crate::{GuestView, MemoryError, QueueError};

/// One buffer of a chain: `len` bytes of guest memory at guest address `address`.
///
/// `address + len` does not overflow; whether it is guest memory is checked at each access.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Buffer {
    /// Guest (or I/O virtual) address of the first byte.
    pub address: u64,
    /// Length in bytes; may be 0.
    pub len: u32,
}

/// A descriptor chain in storage that its owner reuses: popping into it costs no heap.
///
/// First come the device-readable bytes, then the device-writable ones (section 2.7.4.2). However
/// the driver cut them into descriptors, accessors see one run of bytes of each kind, so a device
/// cannot depend on the framing (section 2.7.4.3).
///
/// A chain that was popped is given back by [`Virtqueue::push`](crate::Virtqueue::push), once: a
/// second push does nothing, and popping into a chain that was never pushed completes the earlier
/// one with no bytes written. So no head is lost and none is used twice.
#[derive(Debug, Default)]
pub struct Chain {
    /// As long as the queue that it was popped from last; the chain is the first `extent.buffers`.
    storage: Vec<Buffer>,
    extent: Extent,
    token: Token,
}

/// How much of a chain's storage is in use, and for what.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Extent {
    buffers: usize,
    /// How many of them are device-readable; they come first.
    readable: usize,
    readable_len: u64,
    /// Bytes of all.
    len: u64,
}

/// What the ring needs to take a chain back. The default is that of no ring.
///
/// Two words, so that it travels in registers. Each is stored and loaded whole: two halves stored
/// apart and loaded together stall.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Token {
    /// Which life of which ring popped it, above: a chain that outlived its ring is not pushed to
    /// the next. Its place in the order of availability, below.
    pub(crate) ticket: Ticket,
    /// Head index (split) or buffer id (packed) in the high half; in the low one the number of
    /// descriptors that it occupies in the ring itself.
    place: u64,
}

impl Token {
    #[inline(always)]
    pub(crate) fn new(ticket: Ticket, id: u16, descriptors: u32) -> Self {
        Self {
            ticket,
            place: u64::from(id) << 32 | u64::from(descriptors),
        }
    }

    /// Whether a chain has been popped with it.
    #[inline(always)]
    pub(crate) fn is_live(self) -> bool {
        self.ticket.0 != 0
    }

    /// Head index (split) or buffer id (packed).
    #[inline(always)]
    pub(crate) fn id(self) -> u16 {
        (self.place >> 32) as u16
    }

    /// The id where a used descriptor of a packed ring has it, above its length.
    #[inline(always)]
    pub(crate) fn id_word(self) -> u64 {
        self.place & !u64::from(u32::MAX)
    }

    /// Descriptors that it occupies in the ring itself.
    #[inline(always)]
    pub(crate) fn descriptors(self) -> u32 {
        self.place as u32
    }
}

/// A ring's epoch in the upper 12 bits, and below a sequence number that takes centuries of
/// chains to wrap. 0 is never given out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

impl Ticket {
    /// The first ticket of a ring.
    pub(crate) fn first(epoch: u32) -> Self {
        // Epochs from 1 to 4095, over and over.
        Self(u64::from(epoch % 4095 + 1) << SEQUENCE)
    }

    #[inline(always)]
    pub(crate) fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// Which life of which ring it is of.
    pub(crate) fn epoch(self) -> u64 {
        self.0 >> SEQUENCE
    }

    /// Whether both are of the same ring.
    #[inline(always)]
    pub(crate) fn is_kin(self, other: Self) -> bool {
        (self.0 ^ other.0) >> SEQUENCE == 0
    }

    /// How many tickets after `earlier` it was given out.
    pub(crate) fn since(self, earlier: Self) -> usize {
        self.0.wrapping_sub(earlier.0) as usize
    }
}

const SEQUENCE: u32 = 52;

impl Chain {
    /// An empty chain, to pop into.
    pub fn new() -> Self {
        Self::default()
    }

    /// All buffers: first the device-readable ones, then the device-writable ones.
    #[inline]
    pub fn buffers(&self) -> &[Buffer] {
        &self.storage[..self.extent.buffers]
    }

    /// The device-readable buffers, in order.
    #[inline]
    pub fn readable(&self) -> &[Buffer] {
        self.buffers()
            .get(..self.extent.readable)
            .unwrap_or_default()
    }

    /// The device-writable buffers, in order.
    #[inline]
    pub fn writable(&self) -> &[Buffer] {
        self.buffers()
            .get(self.extent.readable..)
            .unwrap_or_default()
    }

    /// Bytes that the device may read. Of a chain of 4 GiB and more, which no driver should make
    /// (section 2.7.5), those beyond 2^32 - 1 are out of reach.
    #[inline]
    pub fn readable_len(&self) -> u32 {
        clamp(self.extent.readable_len)
    }

    /// Bytes that the device may write, up to 2^32 - 1 as well: what a used length can say.
    #[inline]
    pub fn writable_len(&self) -> u32 {
        clamp(self.extent.len - self.extent.readable_len)
    }

    /// Whether it was popped and not yet pushed.
    #[inline]
    pub fn is_live(&self) -> bool {
        self.token.is_live()
    }

    /// `len` bytes of the readable part from byte `offset` on, as buffers. Clipped to the part.
    #[inline]
    pub fn readable_range(&self, offset: u32, len: u32) -> impl Iterator<Item = Buffer> + Clone {
        clip(self.readable(), offset, len)
    }

    /// `len` bytes of the writable part from byte `offset` on, as buffers. Clipped to the part.
    #[inline]
    pub fn writable_range(&self, offset: u32, len: u32) -> impl Iterator<Item = Buffer> + Clone {
        clip(self.writable(), offset, len)
    }

    /// Copies `data.len()` bytes out of the readable part, from byte `offset` on.
    ///
    /// # Errors
    /// Where the part is shorter, or any byte of the range is not guest memory; `data` is then
    /// unchanged.
    pub fn read_at<M: GuestMemory>(
        &self,
        view: &mut GuestView<'_, M>,
        offset: u32,
        data: &mut [u8],
    ) -> Result<(), MemoryError> {
        let len = fit(offset, data.len(), self.readable_len())?;
        let mut rest = data;
        let range = (self.readable(), offset, len);
        for_each_slice(range, view, Permissions::Read, |slice| {
            let (to, tail) = std::mem::take(&mut rest).split_at_mut(slice.len());
            slice.copy_to(to);
            rest = tail;
        })
    }

    /// The first `N` bytes of the readable part from byte `offset` on: a request header.
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at).
    pub fn read_array<const N: usize, M: GuestMemory>(
        &self,
        view: &mut GuestView<'_, M>,
        offset: u32,
    ) -> Result<[u8; N], MemoryError> {
        let mut bytes = [0; N];
        self.read_at(view, offset, &mut bytes)?;
        Ok(bytes)
    }

    /// Copies `data` into the writable part, from byte `offset` on.
    ///
    /// # Errors
    /// Where the part is shorter, or any byte of the range is not guest memory; nothing was
    /// written then.
    pub fn write_at<M: GuestMemory>(
        &self,
        view: &mut GuestView<'_, M>,
        offset: u32,
        data: &[u8],
    ) -> Result<(), MemoryError> {
        let len = fit(offset, data.len(), self.writable_len())?;
        let mut rest = data;
        let range = (self.writable(), offset, len);
        for_each_slice(range, view, Permissions::Write, |slice| {
            let (from, tail) = rest.split_at(slice.len());
            slice.copy_from(from);
            rest = tail;
        })
    }

    /// Calls `f` with the host memory of `len` bytes of the readable part from `offset` on, piece
    /// by piece, once the whole range is known to be guest memory.
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at); `f` was then not called.
    pub fn readable_slices<'m, M: GuestMemory>(
        &self,
        view: &mut GuestView<'m, M>,
        offset: u32,
        len: u32,
        f: impl FnMut(Slice<'m, M>),
    ) -> Result<(), MemoryError> {
        fit(offset, len as usize, self.readable_len())?;
        for_each_slice((self.readable(), offset, len), view, Permissions::Read, f)
    }

    /// Calls `f` with the host memory of `len` bytes of the writable part from `offset` on, piece
    /// by piece, once the whole range is known to be guest memory.
    ///
    /// # Errors
    /// As [`write_at`](Self::write_at); `f` was then not called.
    pub fn writable_slices<'m, M: GuestMemory>(
        &self,
        view: &mut GuestView<'m, M>,
        offset: u32,
        len: u32,
        f: impl FnMut(Slice<'m, M>),
    ) -> Result<(), MemoryError> {
        fit(offset, len as usize, self.writable_len())?;
        for_each_slice((self.writable(), offset, len), view, Permissions::Write, f)
    }

    /// Moves the chain to `place`, which keeps no more storage than it takes: for chains that stay in
    /// flight, so that the storage which pops take, as long as the queue, can be the same for all. A
    /// chain that is live there comes here.
    pub fn move_to(&mut self, place: &mut Self) {
        if place.is_live() {
            return std::mem::swap(self, place);
        }
        place.storage.clear();
        place.storage.extend_from_slice(self.buffers());
        (place.extent, place.token) = (self.extent, self.token);
        self.clear();
    }

    /// Room for the buffers of a chain of up to `size`.
    #[inline(always)]
    pub(crate) fn storage(&mut self, size: u32) -> &mut [Buffer] {
        if self.storage.len() != size as usize {
            self.resize(size);
        }
        &mut self.storage
    }

    #[cold]
    fn resize(&mut self, size: u32) {
        self.storage.resize(size as usize, Buffer::default());
    }

    /// The chain is what was put into the storage.
    #[inline(always)]
    pub(crate) fn set(&mut self, extent: Extent, token: Token) {
        (self.extent, self.token) = (extent, token);
    }

    /// Empties it, and returns the token of a chain that was never pushed.
    #[inline]
    pub(crate) fn clear(&mut self) -> Token {
        self.extent = Extent::default();
        self.take_token()
    }

    /// What the ring needs to take it back.
    #[inline]
    pub(crate) fn token(&self) -> Token {
        self.token
    }

    #[inline(always)]
    pub(crate) fn take_token(&mut self) -> Token {
        Token {
            ticket: std::mem::take(&mut self.token.ticket),
            ..self.token
        }
    }
}

impl Extent {
    /// Adds the next buffer, for which there is `slot` in the storage.
    #[inline(always)]
    pub(crate) fn add(
        &mut self,
        slot: &mut Buffer,
        buffer: Buffer,
        writable: bool,
    ) -> Result<(), QueueError> {
        if buffer.address.checked_add(buffer.len.into()).is_none() {
            return Err(QueueError::Wrap);
        }
        let before = self.buffers;
        *slot = buffer;
        self.buffers += 1;
        self.len += u64::from(buffer.len);
        if !writable {
            if self.readable != before {
                return Err(QueueError::Order);
            }
            (self.readable, self.readable_len) = (self.buffers, self.len);
        }
        Ok(())
    }

    /// Number of buffers added.
    #[inline(always)]
    pub(crate) fn buffers(&self) -> usize {
        self.buffers
    }
}

fn clamp(len: u64) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// Calls `f` with the host memory of the `len` bytes from `offset` on in some buffers, once all of them
/// are known to be guest memory.
#[inline]
fn for_each_slice<'m, M: GuestMemory>(
    (buffers, offset, len): (&[Buffer], u32, u32),
    view: &mut GuestView<'m, M>,
    access: Permissions,
    mut f: impl FnMut(Slice<'m, M>),
) -> Result<(), MemoryError> {
    match within_one(buffers, offset, len) {
        Some(Buffer { address, len }) => view.for_each_slice(address, len, access, f),
        None => view.for_each_buffer(clip(buffers, offset, len), access, &mut f),
    }
}

/// The `len` bytes from `offset` on, where one buffer has them all: as drivers lay out requests.
#[inline]
fn within_one(buffers: &[Buffer], offset: u32, len: u32) -> Option<Buffer> {
    let mut skip = offset;
    for &Buffer { address, len: room } in buffers {
        if skip < room {
            let address = address + u64::from(skip);
            return (len <= room - skip).then_some(Buffer { address, len });
        }
        skip -= room;
    }
    None
}

/// The part of `buffers` from byte `offset` on, at most `len` bytes, without empty buffers.
fn clip(buffers: &[Buffer], offset: u32, len: u32) -> impl Iterator<Item = Buffer> + Clone {
    buffers
        .iter()
        .scan((offset, len), |(skip, left), buffer| {
            if *left == 0 {
                return None;
            }
            let skipped = buffer.len.min(*skip);
            *skip -= skipped;
            let taken = (buffer.len - skipped).min(*left);
            *left -= taken;
            Some(Buffer {
                address: buffer.address + u64::from(skipped),
                len: taken,
            })
        })
        .filter(|buffer| buffer.len > 0)
}

/// `len` as a length, if `offset + len` lies within `have` bytes.
fn fit(offset: u32, len: usize, have: u32) -> Result<u32, MemoryError> {
    let want = u64::from(offset).saturating_add(len as u64);
    let short = MemoryError::Short {
        want,
        have: have.into(),
    };
    if want > u64::from(have) {
        return Err(short);
    }
    u32::try_from(len).map_err(|_| short)
}
