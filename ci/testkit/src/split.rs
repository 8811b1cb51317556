//! The driver's side of a split virtqueue (section 2.7).

use std::collections::VecDeque;
use std::sync::atomic::{Ordering, fence};

use virtio_device::{AddressSpace, Features, RingConfig};

use crate::descriptor::{NEXT, RawDescriptor};
use crate::{Ram, queue::RawUsed};

/// Descriptor table, available and used ring, and what the driver remembers of them.
#[derive(Debug)]
pub struct SplitDriver<AS> {
    ram: Ram<AS>,
    config: RingConfig,
    /// First in, first out: with IN_ORDER, descriptors are then used in ring order.
    free: VecDeque<u16>,
    /// Index of the next available entry; visible to the device up to `published`.
    avail: u16,
    published: u16,
    used: u16,
    interrupts: bool,
}

impl<AS: AddressSpace> SplitDriver<AS> {
    pub(crate) fn new(ram: Ram<AS>, config: RingConfig) -> Self {
        Self {
            ram,
            config,
            free: (0..config.size.get()).collect(),
            avail: 0,
            published: 0,
            used: 0,
            interrupts: true,
        }
    }

    /// Writes a well-formed chain; returns its head and the descriptors it occupies.
    pub(crate) fn place(&mut self, chain: &[RawDescriptor]) -> Option<(u16, Vec<u16>)> {
        if chain.is_empty() || chain.len() > self.free.len() {
            return None;
        }
        let indices: Vec<u16> = self.free.drain(..chain.len()).collect();
        for (i, descriptor) in chain.iter().enumerate() {
            let next = indices.get(i + 1).copied().unwrap_or(0);
            self.write_descriptor(
                indices[i],
                RawDescriptor {
                    next,
                    ..*descriptor
                },
            );
        }
        self.push_head(indices[0]);
        Some((indices[0], indices))
    }

    /// Takes back the descriptors of a used chain.
    pub(crate) fn release(&mut self, indices: Vec<u16>) {
        self.free.extend(indices);
    }

    pub(crate) fn free(&self) -> u16 {
        self.free.len() as u16
    }

    /// Overwrites entry `index` of the table.
    pub fn write_descriptor(&self, index: u16, descriptor: RawDescriptor) {
        let at = self.config.descriptor + 16 * u64::from(index);
        self.ram.write(at, &descriptor.split(self.config.order));
    }

    /// Puts `head` into the available ring.
    pub fn push_head(&mut self, head: u16) {
        let slot = self.avail % self.config.size.get();
        self.ram.store(
            self.config.driver + 4 + 2 * u64::from(slot),
            self.word16(head),
        );
        self.avail = self.avail.wrapping_add(1);
    }

    /// Overwrites the available index, whatever it was.
    pub fn set_avail_idx(&mut self, idx: u16) {
        (self.avail, self.published) = (idx, idx);
        self.ram.store(self.config.driver + 2, self.word16(idx));
    }

    /// The available index that the device sees.
    pub fn avail_idx(&self) -> u16 {
        self.published
    }

    pub(crate) fn publish(&mut self) -> bool {
        let old = self.published;
        self.set_avail_idx(self.avail);
        fence(Ordering::SeqCst);
        if self.config.features.contains(Features::EVENT_IDX) {
            let event: u16 = self.ram.load(self.avail_event());
            wants(self.word16(event), self.avail, old)
        } else {
            let flags: u16 = self.ram.load(self.config.device);
            self.word16(flags) & 1 == 0
        }
    }

    pub(crate) fn has_used(&self) -> bool {
        self.word16(self.ram.load(self.config.device + 2)) != self.used
    }

    pub(crate) fn collect(&mut self) -> Option<RawUsed> {
        if !self.has_used() {
            return None;
        }
        let slot = self.used % self.config.size.get();
        let at = self.config.device + 4 + 8 * u64::from(slot);
        let (id, len): (u32, u32) = (self.ram.load(at), self.ram.load(at + 4));
        self.used = self.used.wrapping_add(1);
        if self.interrupts {
            self.set_interrupts(true);
        }
        Some(RawUsed {
            id: self.word32(id),
            len: self.word32(len),
        })
    }

    pub(crate) fn advance(&mut self, _descriptors: u16) {}

    pub(crate) fn set_interrupts(&mut self, on: bool) {
        self.interrupts = on;
        if self.config.features.contains(Features::EVENT_IDX) {
            // Half the index space away: not reached before it is set again.
            let event = if on { self.used } else { self.used ^ 1 << 15 };
            self.set_used_event(event);
        } else {
            self.ram
                .store(self.config.driver, self.word16(u16::from(!on)));
        }
        fence(Ordering::SeqCst);
    }

    /// Overwrites used_event: the device interrupts once it has used the buffer at this index.
    pub fn set_used_event(&self, event: u16) {
        let at = self.config.driver + 4 + 2 * u64::from(self.config.size.get());
        self.ram.store(at, self.word16(event));
    }

    /// A word of the ring as a number, and back.
    fn word16(&self, word: u16) -> u16 {
        self.config.order.u16(word.to_ne_bytes())
    }

    fn word32(&self, word: u32) -> u32 {
        self.config.order.u32(word.to_ne_bytes())
    }

    fn avail_event(&self) -> u64 {
        self.config.device + 4 + 8 * u64::from(self.config.size.get())
    }
}

/// Whether `event` lies in `old..new` (section 2.7.10, vring_need_event).
pub(crate) fn wants(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

/// The flags of a chain that is spelled out, as a table or in the ring.
pub(crate) fn link(chain: &mut [RawDescriptor]) {
    let len = chain.len();
    for (i, descriptor) in chain.iter_mut().enumerate() {
        let last = i + 1 == len;
        descriptor.flags = descriptor.flags & !NEXT | if last { 0 } else { NEXT };
        descriptor.next = if last { 0 } else { i as u16 + 1 };
    }
}
