//! The split virtqueue engine (section 2.7).

use std::sync::atomic::{Ordering, fence};

use guest_io::{Area, Word};
use vm_memory::bitmap::{BS, BitmapSlice};
use vm_memory::{Bytes, GuestMemory};

use crate::chain::{Extent, Token};
use crate::ring::{Popped, Ring, RingConfig};
use crate::{Buffer, Chain, GuestView, QueueError, RingArea};

/// The three areas of a split virtqueue, resolved for one wake-up.
pub(crate) struct SplitAreas<'a, M: GuestMemory> {
    table: Words<'a, M, 8>,
    avail: Words<'a, M, 2>,
    used: Words<'a, M, 4>,
    /// The driver's index when it was last read.
    avail_idx: u32,
    size: u32,
}

impl<'a, M: GuestMemory> SplitAreas<'a, M> {
    pub(crate) fn resolve(
        config: &RingConfig,
        view: &mut GuestView<'a, M>,
    ) -> Result<Self, QueueError> {
        let size = u32::from(config.size.get());
        let (table, avail, used) = (
            DESCRIPTOR * size,
            AVAIL_RING + 2 * size + 2,
            USED_RING + 8 * size + 2,
        );
        Ok(Self {
            table: words(view, config.descriptor, table, RingArea::Descriptor)?,
            avail: words(view, config.driver, avail, RingArea::Driver)?,
            used: words(view, config.device, used, RingArea::Device)?,
            avail_idx: u32::MAX,
            size,
        })
    }

    // Not inlined, and indirect chains apart: so that all of it stays in registers. An extent that
    // went through memory would be stored field by field and loaded whole, which stalls.
    #[inline(never)]
    pub(crate) fn pop(
        &mut self,
        ring: &mut Ring,
        tables: &mut GuestView<'a, M>,
        chain: &mut Chain,
    ) -> Popped {
        match self.try_pop(ring, tables, chain) {
            Ok(true) => Popped::Chain,
            Ok(false) => Popped::Nothing,
            Err(error) => ring.fail(error),
        }
    }

    #[inline(always)]
    fn try_pop(
        &mut self,
        ring: &mut Ring,
        tables: &mut GuestView<'a, M>,
        chain: &mut Chain,
    ) -> Result<bool, QueueError> {
        if !self.refresh(ring)? {
            return Ok(false);
        }
        let slot = ring.next_avail & (self.size - 1);
        let head = u16::from_le(load(&self.avail, AVAIL_RING + 2 * slot, Ordering::Relaxed));
        let (mut index, mut extent) = (head, Extent::default());
        for slot in chain.storage(self.size) {
            let descriptor = Descriptor::load(&self.table, index)?;
            if descriptor.has(INDIRECT) {
                return self.pop_indirect(ring, tables, chain, (head, extent, descriptor));
            }
            extent.add(slot, descriptor.buffer(), descriptor.has(WRITE))?;
            if !descriptor.has(NEXT) {
                return self.take(ring, chain, head, extent);
            }
            index = descriptor.next;
        }
        Err(QueueError::TooLong)
    }

    /// Goes on in an indirect table. The chain as a whole may not exceed the queue size, wherever
    /// its descriptors lie.
    #[inline(never)]
    fn pop_indirect(
        &mut self,
        ring: &mut Ring,
        tables: &mut GuestView<'a, M>,
        chain: &mut Chain,
        (head, mut extent, descriptor): (u16, Extent, Descriptor),
    ) -> Result<bool, QueueError> {
        let table = IndirectTable::resolve(ring.indirect, tables, descriptor)?;
        let mut index = 0;
        for slot in chain.storage(self.size).iter_mut().skip(extent.buffers()) {
            let descriptor = table.descriptor(index)?;
            if descriptor.has(INDIRECT) {
                return Err(QueueError::Indirect);
            }
            extent.add(slot, descriptor.buffer(), descriptor.has(WRITE))?;
            if !descriptor.has(NEXT) {
                return self.take(ring, chain, head, extent);
            }
            index = descriptor.next;
        }
        Err(QueueError::TooLong)
    }

    /// The chain is complete: it is the device's now.
    #[inline(always)]
    fn take(
        &mut self,
        ring: &mut Ring,
        chain: &mut Chain,
        id: u16,
        extent: Extent,
    ) -> Result<bool, QueueError> {
        if !extent.fits() {
            return Err(QueueError::TooManyBytes);
        }
        if !ring.live.insert(id) {
            return Err(QueueError::InFlight { id });
        }
        ring.next_avail = (ring.next_avail + 1) & 0xffff;
        chain.set(extent, Token::new(ring.ticket, id, 1));
        ring.ticket = ring.ticket.next();
        Ok(true)
    }

    /// Whether there is something to pop. Reads the driver's index only once all that it
    /// announced last time is taken.
    #[inline]
    fn refresh(&mut self, ring: &Ring) -> Result<bool, QueueError> {
        if self.avail_idx == ring.next_avail || self.avail_idx == u32::MAX {
            self.avail_idx = self.driver_index();
            let ahead = self.avail_idx.wrapping_sub(ring.next_avail) & 0xffff;
            if ahead > self.size {
                return Err(QueueError::AvailableIndex {
                    ahead: ahead as u16,
                    size: self.size as u16,
                });
            }
        }
        Ok(self.avail_idx != ring.next_avail)
    }

    fn driver_index(&self) -> u32 {
        u16::from_le(load(&self.avail, AVAIL_IDX, Ordering::Acquire)).into()
    }

    /// Writes the used element; the driver does not look at it before [`expose`](Self::expose).
    #[inline]
    pub(crate) fn push(&mut self, ring: &mut Ring, token: Token, written: u32) {
        let slot = ring.next_used & (self.size - 1);
        // The used ring is 4-byte aligned, so an element is two words.
        let element = (u32::from(token.id()).to_le(), written.to_le());
        self.used
            .store_pair((USED_RING + 8 * slot) as usize, element, Ordering::Relaxed);
        ring.next_used = (ring.next_used + 1) & 0xffff;
        ring.unsignalled += 1;
    }

    #[inline]
    pub(crate) fn expose(&mut self, ring: &Ring) {
        store(
            &self.used,
            USED_IDX,
            (ring.next_used as u16).to_le(),
            Ordering::Release,
        );
    }

    /// Section 2.7.7: whether the driver wants to hear of the buffers used since it was last
    /// considered.
    pub(crate) fn wants_interrupt(&mut self, ring: &Ring) -> bool {
        fence(Ordering::SeqCst);
        if !ring.event_idx {
            return u16::from_le(load(&self.avail, AVAIL_FLAGS, Ordering::Relaxed)) & NO_INTERRUPT
                == 0;
        }
        let at = AVAIL_RING + 2 * self.size;
        let event = u16::from_le(load(&self.avail, at, Ordering::Relaxed));
        let since_event = (ring.next_used as u16).wrapping_sub(event).wrapping_sub(1);
        u32::from(since_event) < ring.unsignalled
    }

    pub(crate) fn has_available(&self, ring: &Ring) -> bool {
        self.driver_index() != ring.next_avail
    }

    pub(crate) fn arm(&mut self, ring: &Ring) {
        if ring.event_idx {
            let event = (ring.next_avail as u16).to_le();
            store(
                &self.used,
                USED_RING + 8 * self.size,
                event,
                Ordering::Relaxed,
            );
        } else {
            store(&self.used, USED_FLAGS, 0u16, Ordering::Relaxed);
        }
    }

    pub(crate) fn suppress(&mut self) {
        store(&self.used, USED_FLAGS, NO_NOTIFY.to_le(), Ordering::Relaxed);
    }
}

/// A descriptor of either format, copied out of guest memory. In a packed ring `next` is the
/// buffer id.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Descriptor {
    pub(crate) address: u64,
    pub(crate) len: u32,
    pub(crate) flags: u16,
    pub(crate) next: u16,
}

impl Descriptor {
    /// Entry `index` of a split table (section 2.7.5).
    #[inline(always)]
    fn load<B: BitmapSlice>(table: &Area<'_, B, 8>, index: u16) -> Result<Self, QueueError> {
        match table.load_pair(DESCRIPTOR as usize * usize::from(index), Ordering::Relaxed) {
            Some((address, rest)) => {
                Ok(Self::from_words(u64::from_le(address), u64::from_le(rest)))
            }
            None => Err(outside(table.len(), index)),
        }
    }

    #[inline(always)]
    fn from_words(address: u64, rest: u64) -> Self {
        let (len, flags, next) = (rest as u32, (rest >> 32) as u16, (rest >> 48) as u16);
        Self {
            address,
            len,
            flags,
            next,
        }
    }

    #[inline(always)]
    pub(crate) fn has(self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    #[inline(always)]
    pub(crate) fn buffer(self) -> Buffer {
        Buffer {
            address: self.address,
            len: self.len,
        }
    }
}

/// An indirect descriptor table (sections 2.7.5.3 and 2.8.7).
pub(crate) struct IndirectTable<'a, M: GuestMemory> {
    words: Option<Words<'a, M, 8>>,
    memory: &'a M,
    address: u64,
    len: u32,
}

impl<'a, M: GuestMemory> IndirectTable<'a, M> {
    /// The table that `descriptor` names, with what makes it malformed refused.
    #[inline]
    pub(crate) fn resolve(
        negotiated: bool,
        view: &mut GuestView<'a, M>,
        descriptor: Descriptor,
    ) -> Result<Self, QueueError> {
        let Descriptor { address, len, .. } = descriptor;
        if !negotiated || descriptor.has(NEXT) || len == 0 || len % DESCRIPTOR != 0 {
            return Err(QueueError::Indirect);
        }
        address.checked_add(len.into()).ok_or(QueueError::Wrap)?;
        // Tables need no alignment; most have it.
        let words = view
            .slice(address, len)
            .ok()
            .and_then(|slice| Area::new(&slice));
        Ok(Self {
            words,
            memory: view.memory(),
            address,
            len: len / DESCRIPTOR,
        })
    }

    /// Number of descriptors in the table.
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    #[inline(always)]
    pub(crate) fn descriptor(&self, index: u16) -> Result<Descriptor, QueueError> {
        match &self.words {
            Some(words) => Descriptor::load(words, index),
            None => self.descriptor_in_pieces(index),
        }
    }

    /// A table that is misaligned or not in one piece of host memory.
    #[cold]
    fn descriptor_in_pieces(&self, index: u16) -> Result<Descriptor, QueueError> {
        if u32::from(index) >= self.len {
            return Err(outside(DESCRIPTOR as usize * self.len as usize, index));
        }
        let mut bytes = [0; DESCRIPTOR as usize];
        let at = vm_memory::GuestAddress(self.address + u64::from(DESCRIPTOR) * u64::from(index));
        self.memory
            .read_slice(&mut bytes, at)
            .map_err(|_| QueueError::IndirectMemory)?;
        let word = |at: usize| {
            bytes[at..at + 8]
                .iter()
                .rev()
                .fold(0, |word, &byte| word << 8 | u64::from(byte))
        };
        Ok(Descriptor::from_words(word(0), word(8)))
    }
}

/// The error for an index past a table of `bytes` bytes.
#[cold]
fn outside(bytes: usize, index: u16) -> QueueError {
    let size = (bytes / DESCRIPTOR as usize).try_into().unwrap_or(u16::MAX);
    QueueError::DescriptorIndex { index, size }
}

/// A resolved area of a ring.
pub(crate) type Words<'a, M, const ALIGN: usize> =
    Area<'a, BS<'a, <M as GuestMemory>::Bitmap>, ALIGN>;

/// Resolves the area `which` of a ring: `len` bytes at `address`.
pub(crate) fn words<'a, M: GuestMemory, const ALIGN: usize>(
    view: &mut GuestView<'a, M>,
    address: u64,
    len: u32,
    which: RingArea,
) -> Result<Words<'a, M, ALIGN>, QueueError> {
    let slice = view.slice(address, len).ok();
    slice
        .and_then(|slice| Area::new(&slice))
        .ok_or(QueueError::RingMemory(which))
}

/// A load from a resolved area. Where it lies and how long the area is was checked when it was
/// resolved, so the default is never seen.
#[inline(always)]
pub(crate) fn load<T: Word + Default, B: BitmapSlice, const ALIGN: usize>(
    area: &Area<'_, B, ALIGN>,
    at: u32,
    order: Ordering,
) -> T {
    area.load(at as usize, order).unwrap_or_default()
}

/// A store to a resolved area, of which the same is true. Marks the page dirty.
#[inline(always)]
pub(crate) fn store<T: Word, B: BitmapSlice, const ALIGN: usize>(
    area: &Area<'_, B, ALIGN>,
    at: u32,
    value: T,
    order: Ordering,
) {
    let stored = area.store(at as usize, value, order);
    debug_assert!(stored.is_some(), "resolved areas are long enough");
}

pub(crate) const NEXT: u16 = 1;
pub(crate) const WRITE: u16 = 2;
pub(crate) const INDIRECT: u16 = 4;
/// Size of a descriptor in bytes, in either format.
pub(crate) const DESCRIPTOR: u32 = 16;

const NO_INTERRUPT: u16 = 1;
const NO_NOTIFY: u16 = 1;
const AVAIL_FLAGS: u32 = 0;
const AVAIL_IDX: u32 = 2;
const AVAIL_RING: u32 = 4;
const USED_FLAGS: u32 = 0;
const USED_IDX: u32 = 2;
const USED_RING: u32 = 4;
