//! The packed virtqueue engine (section 2.8).

use std::sync::atomic::{Ordering, fence};

use vm_memory::GuestMemory;

use crate::chain::{Extent, Token};
use crate::ring::{Popped, Ring, RingConfig, WRAP};
use crate::split::{
    DESCRIPTOR, Descriptor, INDIRECT, IndirectTable, NEXT, WRITE, Words, load, store, words,
};
use crate::{Chain, GuestView, QueueError, RingArea};

/// The three areas of a packed virtqueue, resolved for one wake-up.
pub(crate) struct PackedAreas<'a, M: GuestMemory> {
    ring: Words<'a, M, 8>,
    driver_event: Words<'a, M, 4>,
    device_event: Words<'a, M, 4>,
    size: u32,
    /// The first used descriptor of the batch, held back: while the driver cannot see it, it does
    /// not look at those behind it.
    held: Option<(u32, u64)>,
}

impl<'a, M: GuestMemory> PackedAreas<'a, M> {
    pub(crate) fn resolve(
        config: &RingConfig,
        view: &mut GuestView<'a, M>,
    ) -> Result<Self, QueueError> {
        let size = u32::from(config.size.get());
        Ok(Self {
            ring: words(
                view,
                config.descriptor,
                DESCRIPTOR * size,
                RingArea::Descriptor,
            )?,
            driver_event: words(view, config.driver, EVENT, RingArea::Driver)?,
            device_event: words(view, config.device, EVENT, RingArea::Device)?,
            size,
            held: None,
        })
    }

    // Not inlined, and indirect chains apart, for the reasons given at the split engine's `pop`.
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
        // What the flags make available may be read after this.
        let mut descriptor = self.descriptor(ring.next_avail, Ordering::Acquire);
        if !Self::is_available(descriptor.flags, ring.avail_wrap) {
            return Ok(false);
        }
        let (mut at, mut extent) = (ring.next_avail, Extent::default());
        for slot in chain.storage(self.size) {
            if descriptor.has(INDIRECT) {
                // INDIRECT goes with NEXT neither here nor in descriptors before it.
                return match extent.buffers() {
                    0 => self.pop_indirect(ring, tables, chain, descriptor),
                    _ => Err(QueueError::Indirect),
                };
            }
            extent.add(slot, descriptor.buffer(), descriptor.has(WRITE))?;
            if !descriptor.has(NEXT) {
                // The buffer id is that of the last descriptor (section 2.8.6).
                return self.take(
                    ring,
                    chain,
                    descriptor.next,
                    extent.buffers() as u32,
                    extent,
                );
            }
            at = if at + 1 == self.size { 0 } else { at + 1 };
            // The driver made the first descriptor available last, so the others are there.
            descriptor = self.descriptor(at, Ordering::Relaxed);
        }
        Err(QueueError::TooLong)
    }

    /// An indirect table of a packed ring has no NEXT: all its entries are the chain, in order
    /// (section 2.8.7).
    #[inline(never)]
    fn pop_indirect(
        &mut self,
        ring: &mut Ring,
        tables: &mut GuestView<'a, M>,
        chain: &mut Chain,
        descriptor: Descriptor,
    ) -> Result<bool, QueueError> {
        let table = IndirectTable::resolve(ring.indirect, tables, descriptor)?;
        if table.len() > self.size {
            return Err(QueueError::TooLong);
        }
        let mut extent = Extent::default();
        for (slot, index) in chain
            .storage(self.size)
            .iter_mut()
            .zip(0..table.len() as u16)
        {
            let entry = packed_order(table.descriptor(index)?);
            if entry.has(INDIRECT) {
                return Err(QueueError::Indirect);
            }
            extent.add(slot, entry.buffer(), entry.has(WRITE))?;
        }
        self.take(ring, chain, descriptor.next, 1, extent)
    }

    /// The chain is complete, `descriptors` of them in the ring itself: it is the device's now.
    #[inline(always)]
    fn take(
        &mut self,
        ring: &mut Ring,
        chain: &mut Chain,
        id: u16,
        descriptors: u32,
        extent: Extent,
    ) -> Result<bool, QueueError> {
        if !extent.fits() {
            return Err(QueueError::TooManyBytes);
        }
        if ring.descriptors + descriptors > self.size || !ring.live.insert(id) {
            return Err(QueueError::InFlight { id });
        }
        ring.descriptors += descriptors;
        (ring.next_avail, ring.avail_wrap) =
            self.advance(ring.next_avail, ring.avail_wrap, descriptors);
        chain.set(extent, Token::new(ring.ticket, id, descriptors));
        ring.ticket = ring.ticket.next();
        Ok(true)
    }

    /// Entry `index` of the ring. Length, id and flags are one load, so that they belong together.
    #[inline(always)]
    fn descriptor(&self, index: u32, order: Ordering) -> Descriptor {
        let words = self.ring.load_pair((DESCRIPTOR * index) as usize, order);
        let (address, rest) = words.map_or((0, 0), |(a, b)| (u64::from_le(a), u64::from_le(b)));
        let (len, next, flags) = (rest as u32, (rest >> 32) as u16, (rest >> 48) as u16);
        Descriptor {
            address,
            len,
            flags,
            next,
        }
    }

    /// Whether a descriptor with these flags is available (section 2.8.1): AVAIL is the driver's
    /// wrap counter and USED is not.
    #[inline(always)]
    fn is_available(flags: u16, wrap: bool) -> bool {
        (flags & AVAIL != 0) == wrap && (flags & USED != 0) != wrap
    }

    #[inline]
    fn advance(&self, position: u32, wrap: bool, by: u32) -> (u32, bool) {
        let next = position + by;
        if next >= self.size {
            (next - self.size, !wrap)
        } else {
            (next, wrap)
        }
    }

    #[inline]
    pub(crate) fn push(&mut self, ring: &mut Ring, token: Token, written: u32) {
        let mut flags = if ring.used_wrap { AVAIL | USED } else { 0 };
        if written > 0 {
            flags |= WRITE;
        }
        let word = u64::from(written) | u64::from(token.id()) << 32 | u64::from(flags) << 48;
        let at = DESCRIPTOR * ring.next_used + 8;
        match self.held {
            None => self.held = Some((at, word)),
            Some(_) => store(&self.ring, at, word.to_le(), Ordering::Release),
        }
        let descriptors = token.descriptors();
        ring.descriptors = ring.descriptors.saturating_sub(descriptors);
        ring.unsignalled += descriptors;
        (ring.next_used, ring.used_wrap) =
            self.advance(ring.next_used, ring.used_wrap, descriptors);
    }

    #[inline]
    pub(crate) fn expose(&mut self) {
        if let Some((at, word)) = self.held.take() {
            store(&self.ring, at, word.to_le(), Ordering::Release);
        }
    }

    /// Section 2.8.10: whether the driver wants to hear of the descriptors used since it was last
    /// considered.
    pub(crate) fn wants_interrupt(&mut self, ring: &Ring) -> bool {
        fence(Ordering::SeqCst);
        let event = u32::from_le(load(&self.driver_event, 0, Ordering::Relaxed));
        let (offset, flags) = (event as u16, (event >> 16) as u16 & EVENT_FLAGS);
        if flags != EVENT_DESC || !ring.event_idx {
            return flags != EVENT_DISABLE;
        }
        let position = u32::from(offset & !WRAP);
        // How long ago the device used the descriptor that the driver waits for. A batch may be
        // two laps long: what was in flight before, and a queueful besides.
        let same_lap = (offset & WRAP != 0) == ring.used_wrap;
        let lap = if same_lap {
            2 * self.size
        } else {
            3 * self.size
        };
        let since = (ring.next_used + lap).wrapping_sub(position + 1) % (2 * self.size);
        since < ring.unsignalled
    }

    pub(crate) fn has_available(&self, ring: &Ring) -> bool {
        let first = self.descriptor(ring.next_avail, Ordering::Acquire);
        Self::is_available(first.flags, ring.avail_wrap)
    }

    pub(crate) fn arm(&mut self, ring: &Ring) {
        if ring.event_idx {
            let wrap = if ring.avail_wrap { WRAP } else { 0 };
            let event = ring.next_avail as u16 | wrap;
            store(&self.device_event, 0, event.to_le(), Ordering::Relaxed);
            store(&self.device_event, 2, EVENT_DESC.to_le(), Ordering::Release);
        } else {
            store(
                &self.device_event,
                2,
                EVENT_ENABLE.to_le(),
                Ordering::Relaxed,
            );
        }
    }

    pub(crate) fn suppress(&mut self) {
        store(
            &self.device_event,
            2,
            EVENT_DISABLE.to_le(),
            Ordering::Relaxed,
        );
    }
}

/// Id and flags lie the other way round than in a split descriptor.
#[inline]
fn packed_order(split: Descriptor) -> Descriptor {
    Descriptor {
        flags: split.next,
        next: split.flags,
        ..split
    }
}

const AVAIL: u16 = 1 << 7;
const USED: u16 = 1 << 15;
/// Size of an event suppression structure in bytes.
const EVENT: u32 = 4;
const EVENT_ENABLE: u16 = 0;
const EVENT_DISABLE: u16 = 1;
const EVENT_DESC: u16 = 2;
const EVENT_FLAGS: u16 = 3;
