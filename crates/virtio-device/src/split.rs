//! The split virtqueue engine (section 2.7).

use std::sync::atomic::Ordering;

use guest_io::{Area, Array, Word};
use vm_memory::GuestMemory;
use vm_memory::bitmap::{BS, BitmapSlice};

use crate::chain::{Extent, Token};
use crate::descriptor::{
    DESCRIPTOR, Descriptor, INDIRECT, IndirectTable, NEXT, SPLIT, Table, WRITE, entry, outside,
};
use crate::ring::{NoChain, Ring, RingConfig};
use crate::{Buffer, Chain, GuestView, QueueError, RingArea};

/// The three areas of a split virtqueue, resolved for one wake-up. `BIG` is whether the ring is
/// big-endian: that of a legacy driver on such a machine, compiled apart.
pub(crate) struct SplitAreas<'a, M: GuestMemory, const BIG: bool = false> {
    /// Descriptor area.
    table: Table<'a, M>,
    /// Driver area: flags, index, the ring and the used event index.
    avail: Words<'a, M, 2>,
    avail_ring: Array<'a, BS<'a, M::Bitmap>, u16>,
    /// Device area: flags, index, the ring and the available event index.
    used: Words<'a, M, 4>,
    used_ring: Array<'a, BS<'a, M::Bitmap>, u32, 2>,
    size: u32,
}

impl<'a, M: GuestMemory, const BIG: bool> SplitAreas<'a, M, BIG> {
    #[inline]
    pub(crate) fn resolve(
        config: &RingConfig,
        view: &mut GuestView<'a, M>,
    ) -> Result<Self, QueueError> {
        let size = u32::from(config.size.get());
        let table = words::<M, 8>(
            view,
            config.descriptor,
            DESCRIPTOR * size,
            RingArea::Descriptor,
        )?;
        let avail = words(
            view,
            config.driver,
            AVAIL_RING + 2 * size + 2,
            RingArea::Driver,
        )?;
        let used = words(
            view,
            config.device,
            USED_RING + 8 * size + 2,
            RingArea::Device,
        )?;
        Ok(Self {
            table: array(&table, 0, size, RingArea::Descriptor)?,
            avail_ring: array(&avail, AVAIL_RING, size, RingArea::Driver)?,
            used_ring: array(&used, USED_RING, size, RingArea::Device)?,
            avail,
            used,
            size,
        })
    }

    /// Number of chains that the driver has made available and the device has not taken.
    pub(crate) fn available(&self, ring: &Ring) -> Result<u32, QueueError> {
        let ahead = self.driver_index().wrapping_sub(ring.next_avail as u16);
        if u32::from(ahead) > self.size {
            return Err(QueueError::AvailableIndex {
                ahead,
                size: self.size as u16,
            });
        }
        Ok(ahead.into())
    }

    /// Takes the next chain, of which [`available`](Self::available) has said that it is there.
    // Each return is one of its own: where they meet, the compiler runs out of registers.
    #[inline(always)]
    pub(crate) fn pop(
        &mut self,
        ring: &mut Ring,
        tables: &mut GuestView<'a, M>,
        chain: &mut Chain,
    ) -> Result<(), NoChain> {
        let [head] = self
            .avail_ring
            .load_wrapping(ring.next_avail, Ordering::Relaxed);
        let head = word16::<BIG>(head);
        let mut descriptor = self.descriptor(head.into()).map_err(|e| ring.fail(e))?;
        if descriptor.has(INDIRECT) {
            let popped = self.pop_indirect(ring, tables, chain, head, descriptor);
            return popped.map_err(|e| ring.fail(e));
        }
        let mut extent = Extent::default();
        for slot in chain.storage(self.size) {
            extent
                .add(slot, descriptor.buffer(), descriptor.has(WRITE))
                .map_err(|e| ring.fail(e))?;
            if !descriptor.has(NEXT) {
                let taken = self.take(ring, chain, head, extent);
                return taken.map_err(|e| ring.fail(e));
            }
            let next = self.descriptor(descriptor.next());
            descriptor = next.map_err(|e| ring.fail(e))?;
            if descriptor.has(INDIRECT) {
                let popped = self.pop_mixed(ring, tables.memory(), chain, head);
                return popped.map_err(|e| ring.fail(e));
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
        head: u16,
        first: Descriptor<SPLIT>,
    ) -> Result<(), QueueError> {
        let Some(table) = IndirectTable::named_by(first, ring.indirect)?.resolve(tables) else {
            return self.pop_mixed(ring, tables.memory(), chain, head);
        };
        let (storage, mut extent) = (chain.storage(self.size), Extent::default());
        let in_table = |index| entry(&table, index).map(in_order::<BIG>);
        match walk(storage, &mut extent, 0, in_table)? {
            Some(_) => Err(QueueError::Indirect),
            None => self.take(ring, chain, head, extent),
        }
    }

    /// Takes any chain: descriptors of the ring, and then those of an indirect table, wherever that
    /// lies. The chain as a whole may not exceed the queue size.
    #[cold]
    fn pop_mixed(
        &mut self,
        ring: &mut Ring,
        memory: &M,
        chain: &mut Chain,
        head: u16,
    ) -> Result<(), QueueError> {
        let (storage, mut extent) = (chain.storage(self.size), Extent::default());
        let in_ring = |index| self.descriptor(index);
        if let Some(last) = walk(storage, &mut extent, head.into(), in_ring)? {
            let table = IndirectTable::named_by(last, ring.indirect)?;
            let in_table = |index| table.descriptor(memory, index).map(in_order::<BIG>);
            if walk(storage, &mut extent, 0, in_table)?.is_some() {
                return Err(QueueError::Indirect);
            }
        }
        self.take(ring, chain, head, extent)
    }

    #[inline(always)]
    fn descriptor(&self, index: u32) -> Result<Descriptor<SPLIT>, QueueError> {
        Descriptor::load(&self.table, index, Ordering::Relaxed)
            .map(in_order::<BIG>)
            .ok_or_else(|| outside(self.size, index))
    }

    /// The chain is complete: it is the device's now.
    #[inline(always)]
    fn take(
        &self,
        ring: &mut Ring,
        chain: &mut Chain,
        head: u16,
        extent: Extent,
    ) -> Result<(), QueueError> {
        ring.take(chain, extent, head, 1)?;
        ring.next_avail = ring.next_avail.wrapping_add(1);
        Ok(())
    }

    fn driver_index(&self) -> u16 {
        word16::<BIG>(load(&self.avail, AVAIL_IDX, Ordering::Acquire))
    }

    /// Writes the used element; the driver does not look at it before [`expose`](Self::expose).
    #[inline]
    pub(crate) fn push(&mut self, ring: &mut Ring, token: Token, written: u32) {
        let slot = ring.next_used;
        ring.next_used = slot.wrapping_add(1);
        ring.unsignalled += 1;
        // The used ring is 4-byte aligned, so an element is two words.
        let element = [token.id().into(), written].map(word32::<BIG>);
        self.used_ring
            .store_wrapping(slot, element, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn expose(&mut self, ring: &Ring) {
        store(
            &self.used,
            USED_IDX,
            word16::<BIG>(ring.next_used as u16),
            Ordering::Release,
        );
    }

    /// Section 2.7.7: whether the driver wants to hear of the buffers used since it was last
    /// considered.
    pub(crate) fn wants_interrupt(&self, ring: &Ring) -> bool {
        if !ring.event_idx {
            return word16::<BIG>(load(&self.avail, AVAIL_FLAGS, Ordering::Relaxed)) & NO_INTERRUPT
                == 0;
        }
        let at = AVAIL_RING + 2 * self.size;
        let event = word16::<BIG>(load(&self.avail, at, Ordering::Relaxed));
        let since_event = (ring.next_used as u16).wrapping_sub(event).wrapping_sub(1);
        u64::from(since_event) < ring.unsignalled
    }

    pub(crate) fn has_available(&self, ring: &Ring) -> bool {
        self.driver_index() != ring.next_avail as u16
    }

    pub(crate) fn arm(&mut self, ring: &Ring) {
        if ring.event_idx {
            let event = word16::<BIG>(ring.next_avail as u16);
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
        let flags = word16::<BIG>(NO_NOTIFY);
        store(&self.used, USED_FLAGS, flags, Ordering::Relaxed);
    }
}

/// Adds the descriptors from `index` on, which `descriptor` knows, to `extent`, until the chain ends
/// or one of them names an indirect table.
#[inline(always)]
fn walk(
    storage: &mut [Buffer],
    extent: &mut Extent,
    mut index: u32,
    descriptor: impl Fn(u32) -> Result<Descriptor<SPLIT>, QueueError>,
) -> Result<Option<Descriptor<SPLIT>>, QueueError> {
    for slot in storage.get_mut(extent.buffers()..).unwrap_or_default() {
        let descriptor = descriptor(index)?;
        if descriptor.has(INDIRECT) {
            return Ok(Some(descriptor));
        }
        extent.add(slot, descriptor.buffer(), descriptor.has(WRITE))?;
        if !descriptor.has(NEXT) {
            return Ok(None);
        }
        index = descriptor.next();
    }
    Err(QueueError::TooLong)
}

/// Between a number and the word that it is in a ring: the same either way.
macro_rules! word {
    ($($name:ident: $word:ty),*) => { $(
        #[inline(always)]
        fn $name<const BIG: bool>(word: $word) -> $word {
            if BIG { word.to_be() } else { word.to_le() }
        }
    )* };
}

word!(word16: u16, word32: u32);

#[inline(always)]
fn in_order<const BIG: bool>(descriptor: Descriptor<SPLIT>) -> Descriptor<SPLIT> {
    if BIG { descriptor.turned() } else { descriptor }
}

/// A resolved area of a ring.
pub(crate) type Words<'a, M, const ALIGN: usize> =
    Area<'a, BS<'a, <M as GuestMemory>::Bitmap>, ALIGN>;

/// The `len` entries from byte `offset` on of a resolved area.
#[inline]
pub(crate) fn array<'a, B: BitmapSlice, T: Word, const N: usize, const ALIGN: usize>(
    area: &Area<'a, B, ALIGN>,
    offset: u32,
    len: u32,
    which: RingArea,
) -> Result<Array<'a, B, T, N>, QueueError> {
    area.array(offset as usize, len)
        .ok_or(QueueError::RingMemory(which))
}

/// Resolves the area `which` of a ring: `len` bytes at `address`.
#[inline]
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

const NO_INTERRUPT: u16 = 1;
const NO_NOTIFY: u16 = 1;
const AVAIL_FLAGS: u32 = 0;
const AVAIL_IDX: u32 = 2;
const AVAIL_RING: u32 = 4;
const USED_FLAGS: u32 = 0;
const USED_IDX: u32 = 2;
const USED_RING: u32 = 4;
