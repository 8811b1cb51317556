//! The packed virtqueue engine (section 2.8).

use std::sync::atomic::Ordering;

use vm_memory::GuestMemory;

use crate::chain::{Extent, Token};
use crate::descriptor::{
    DESCRIPTOR, Descriptor, INDIRECT, IndirectTable, NEXT, PACKED, Table, WRITE,
};
use crate::ring::{NoChain, Ring, RingConfig};
use crate::split::{Words, array, load, store, words};
use crate::wrap::{WRAP, Wrap};
use crate::{Buffer, Chain, GuestView, QueueError, RingArea};

/// The three areas of a packed virtqueue, resolved for one wake-up.
pub(crate) struct PackedAreas<'a, M: GuestMemory> {
    ring: Table<'a, M>,
    driver_event: Words<'a, M, 4>,
    device_event: Words<'a, M, 4>,
    size: u32,
    /// The first used descriptor of the batch, held back: while the driver cannot see it, it does
    /// not look at those behind it.
    held: Option<(u32, u64)>,
}

impl<'a, M: GuestMemory> PackedAreas<'a, M> {
    #[inline]
    pub(crate) fn resolve(
        config: &RingConfig,
        view: &mut GuestView<'a, M>,
    ) -> Result<Self, QueueError> {
        let size = u32::from(config.size.get());
        let ring = words::<M, 8>(
            view,
            config.descriptor,
            DESCRIPTOR * size,
            RingArea::Descriptor,
        )?;
        Ok(Self {
            ring: array(&ring, 0, size, RingArea::Descriptor)?,
            driver_event: words(view, config.driver, EVENT, RingArea::Driver)?,
            device_event: words(view, config.device, EVENT, RingArea::Device)?,
            size,
            held: None,
        })
    }

    /// How many chains may be taken: as many as there is room for in the ring, while there is one.
    pub(crate) fn available(&self, ring: &Ring) -> u32 {
        if self.has_available(ring) {
            self.size
        } else {
            0
        }
    }

    /// Takes the next chain, if there is one.
    // Each return is one of its own, for the reason given at the split engine's `pop`.
    #[inline(always)]
    pub(crate) fn pop(
        &mut self,
        ring: &mut Ring,
        tables: &mut GuestView<'a, M>,
        chain: &mut Chain,
    ) -> Result<(), NoChain> {
        // What the flags make available may be read after this.
        let mut at = ring.next_avail;
        let mut descriptor = self.descriptor(at);
        if !descriptor.is_available(ring.avail_wrap) {
            return Err(ring.drain());
        }
        if descriptor.has(INDIRECT) {
            let popped = self.pop_indirect(ring, tables, chain, descriptor);
            return popped.map_err(|e| ring.fail(e));
        }
        let mut extent = Extent::default();
        for slot in chain.storage(self.size) {
            extent
                .add(slot, descriptor.buffer(), descriptor.has(WRITE))
                .map_err(|e| ring.fail(e))?;
            if !descriptor.has(NEXT) {
                // The buffer id is that of the last descriptor (section 2.8.6).
                let (id, descriptors) = (descriptor.id(), extent.buffers() as u32);
                let taken = self.take(ring, chain, id, descriptors, extent);
                return taken.map_err(|e| ring.fail(e));
            }
            (at, descriptor) = self.following(at);
            if descriptor.has(INDIRECT) {
                // It does not go with NEXT.
                return Err(ring.fail(QueueError::Indirect));
            }
        }
        Err(ring.fail(QueueError::TooLong))
    }

    /// Takes a chain that is an indirect table, which `first` names.
    #[inline(always)]
    fn pop_indirect(
        &mut self,
        ring: &mut Ring,
        tables: &mut GuestView<'a, M>,
        chain: &mut Chain,
        first: Descriptor<PACKED>,
    ) -> Result<(), QueueError> {
        let named = IndirectTable::named_by(first, ring.indirect)?;
        let slots = chain.storage(self.size).get_mut(..named.len() as usize);
        let slots = slots.ok_or(QueueError::TooLong)?;
        let extent = match named.resolve(tables) {
            Some(table) => {
                let entries = table.zip_from(0, slots, Ordering::Relaxed);
                gather(entries.map(|(slot, words)| (slot, Ok(Descriptor::from_words(words)))))?
            }
            None => gather_cold(slots, named, tables.memory())?,
        };
        self.take(ring, chain, first.id(), 1, extent)
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
    ) -> Result<(), QueueError> {
        let room = ring.room.checked_sub(descriptors);
        let room = room.ok_or(QueueError::InFlight { id })?;
        ring.take(chain, extent, id, descriptors)?;
        ring.room = room;
        self.advance(&mut ring.next_avail, &mut ring.avail_wrap, descriptors);
        Ok(())
    }

    /// The descriptor at `index`, which is below the size: its flags first.
    #[inline(always)]
    fn descriptor(&self, index: u32) -> Descriptor<PACKED> {
        Descriptor::load(&self.ring, index, Ordering::Acquire).unwrap_or_default()
    }

    /// The place after `at`, and what is there. The driver made the first descriptor of a chain
    /// available last, so the others can be read.
    #[inline(always)]
    fn following(&self, at: u32) -> (u32, Descriptor<PACKED>) {
        // Past the end of the ring there is none.
        match Descriptor::load(&self.ring, at + 1, Ordering::Relaxed) {
            Some(descriptor) => (at + 1, descriptor),
            None => (0, self.descriptor(0)),
        }
    }

    #[inline(always)]
    fn advance(&self, position: &mut u32, wrap: &mut Wrap, by: u32) {
        *position += by;
        if *position >= self.size {
            *position -= self.size;
            wrap.turn();
        }
    }

    /// Writes the used descriptor, of which the driver sees nothing before
    /// [`expose`](Self::expose).
    #[inline]
    pub(crate) fn push(&mut self, ring: &mut Ring, token: Token, written: u32) {
        let mut word = token.id_word() | u64::from(written) | ring.used_wrap.used();
        if written > 0 {
            word |= u64::from(WRITE) << PACKED;
        }
        let (at, descriptors) = (ring.next_used, token.descriptors());
        ring.room += descriptors;
        ring.unsignalled += u64::from(descriptors);
        self.advance(&mut ring.next_used, &mut ring.used_wrap, descriptors);
        match self.held {
            None => self.held = Some((at, word)),
            Some(_) => self.store_used(at, word),
        }
    }

    #[inline]
    pub(crate) fn expose(&mut self) {
        if let Some((at, word)) = self.held.take() {
            self.store_used(at, word);
        }
    }

    /// Length, id and flags of a used descriptor, as one store. The place is below the size.
    #[inline(always)]
    fn store_used(&self, at: u32, word: u64) {
        self.ring.store_last(at, word.to_le(), Ordering::Release);
    }

    /// Section 2.8.10: whether the driver wants to hear of the descriptors used since it was last
    /// considered.
    pub(crate) fn wants_interrupt(&self, ring: &Ring) -> bool {
        let event = u32::from_le(load(&self.driver_event, 0, Ordering::Relaxed));
        let (offset, flags) = (event as u16, (event >> 16) as u16 & EVENT_FLAGS);
        if flags != EVENT_DESC || !ring.event_idx {
            return flags != EVENT_DISABLE;
        }
        let position = u32::from(offset & !WRAP);
        // How long ago the device used the descriptor that the driver waits for. A batch may be
        // two laps long: what was in flight before, and a queueful besides.
        let same_lap = Wrap::of(offset) == ring.used_wrap;
        let lap = if same_lap {
            2 * self.size
        } else {
            3 * self.size
        };
        let since = (ring.next_used + lap).wrapping_sub(position + 1) % (2 * self.size);
        u64::from(since) < ring.unsignalled
    }

    pub(crate) fn has_available(&self, ring: &Ring) -> bool {
        self.descriptor(ring.next_avail)
            .is_available(ring.avail_wrap)
    }

    pub(crate) fn arm(&mut self, ring: &Ring) {
        if ring.event_idx {
            let event = ring.next_avail as u16 | ring.avail_wrap.bit();
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

/// An indirect table of a packed ring has no NEXT: all its entries are the chain, in order (section
/// 2.8.7).
#[inline(always)]
fn gather<'s>(
    entries: impl Iterator<Item = (&'s mut Buffer, Result<Descriptor<PACKED>, QueueError>)>,
) -> Result<Extent, QueueError> {
    let mut extent = Extent::default();
    for (slot, descriptor) in entries {
        let descriptor = descriptor?;
        if descriptor.has(INDIRECT) {
            return Err(QueueError::Indirect);
        }
        extent.add(slot, descriptor.buffer(), descriptor.has(WRITE))?;
    }
    Ok(extent)
}

/// The same for a table wherever it lies.
#[cold]
fn gather_cold<M: GuestMemory>(
    slots: &mut [Buffer],
    table: IndirectTable,
    memory: &M,
) -> Result<Extent, QueueError> {
    let entries = slots.iter_mut().zip(0..);
    gather(entries.map(|(slot, index)| (slot, table.descriptor(memory, index))))
}

/// Size of an event suppression structure in bytes.
const EVENT: u32 = 4;
const EVENT_ENABLE: u16 = 0;
const EVENT_DISABLE: u16 = 1;
const EVENT_DESC: u16 = 2;
const EVENT_FLAGS: u16 = 3;
