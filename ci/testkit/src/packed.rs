//! The driver's side of a packed virtqueue (section 2.8).

use std::collections::VecDeque;
use std::sync::atomic::{Ordering, fence};

use virtio_device::{AddressSpace, Features, RingConfig};

use crate::descriptor::{AVAIL, RawDescriptor, USED, WRITE};
use crate::split::wants;
use crate::{Ram, queue::RawUsed};

/// Descriptor ring and event suppression areas, and what the driver remembers of them.
#[derive(Debug)]
pub struct PackedDriver<AS> {
    ram: Ram<AS>,
    config: RingConfig,
    next: u16,
    wrap: bool,
    free: u16,
    ids: VecDeque<u16>,
    used: u16,
    used_wrap: bool,
    /// The first head since the last publish: without it the device does not see what follows.
    held: Option<(u16, RawDescriptor)>,
    /// Descriptors placed since the last publish.
    staged: u16,
    interrupts: bool,
}

impl<AS: AddressSpace> PackedDriver<AS> {
    pub(crate) fn new(ram: Ram<AS>, config: RingConfig) -> Self {
        let size = config.size.get();
        Self {
            ram,
            config,
            next: 0,
            wrap: true,
            free: size,
            ids: (0..size).collect(),
            used: 0,
            used_wrap: true,
            held: None,
            staged: 0,
            interrupts: true,
        }
    }

    /// Writes a well-formed chain; returns its buffer id and how many descriptors it occupies.
    pub(crate) fn place(&mut self, chain: &[RawDescriptor]) -> Option<(u16, u16)> {
        let len = u16::try_from(chain.len()).ok()?;
        if len == 0 || len > self.free {
            return None;
        }
        let id = self.ids.pop_front()?;
        let with_id = |d: &RawDescriptor| RawDescriptor { next: id, ..*d };
        self.place_raw(&chain.iter().map(with_id).collect::<Vec<_>>());
        Some((id, len))
    }

    /// Writes descriptors as they are, but for their availability bits.
    pub fn place_raw(&mut self, chain: &[RawDescriptor]) {
        let mut rest = Vec::new();
        let len = chain.len() as u16;
        for descriptor in chain {
            let bits = if self.wrap { AVAIL } else { USED };
            let flags = descriptor.flags & !(AVAIL | USED) | bits;
            rest.push((
                self.next,
                RawDescriptor {
                    flags,
                    ..*descriptor
                },
            ));
            self.next += 1;
            if self.next == self.config.size.get() {
                (self.next, self.wrap) = (0, !self.wrap);
            }
        }
        for &(at, descriptor) in rest.iter().skip(1) {
            self.write_descriptor(at, descriptor);
        }
        match (self.held, rest.first()) {
            (None, Some(&head)) => self.held = Some(head),
            (Some(_), Some(&(at, descriptor))) => self.write_descriptor(at, descriptor),
            _ => {}
        }
        self.free = self.free.saturating_sub(len);
        self.staged += len;
    }

    pub(crate) fn release(&mut self, id: u16, descriptors: u16) {
        self.ids.push_back(id);
        self.free += descriptors;
    }

    pub(crate) fn free(&self) -> u16 {
        self.free
    }

    /// Overwrites entry `index` of the ring, flags last.
    pub fn write_descriptor(&self, index: u16, descriptor: RawDescriptor) {
        let at = self.config.descriptor + 16 * u64::from(index);
        let [first, rest] = [0, 8].map(|i| {
            let bytes = descriptor.packed();
            u64::from_ne_bytes(std::array::from_fn(|j| bytes[i + j]))
        });
        self.ram.store(at, first);
        self.ram.store(at + 8, rest);
    }

    pub(crate) fn publish(&mut self) -> bool {
        if let Some((at, head)) = self.held.take() {
            self.write_descriptor(at, head);
        }
        let staged = std::mem::take(&mut self.staged);
        fence(Ordering::SeqCst);
        let event = u32::from_le(self.ram.load(self.config.device));
        let (offset, flags) = (event as u16, (event >> 16) as u16 & 3);
        if flags != 2 || !self.config.features.contains(Features::EVENT_IDX) {
            return flags != 1;
        }
        let same_lap = (offset & WRAP != 0) == self.wrap;
        let lap = if same_lap { 0 } else { self.config.size.get() };
        let event = (offset & !WRAP).wrapping_sub(lap);
        wants(event, self.next, self.next.wrapping_sub(staged))
    }

    pub(crate) fn has_used(&self) -> bool {
        let at = self.config.descriptor + 16 * u64::from(self.used) + 8;
        let flags = (u64::from_le(self.ram.load(at)) >> 48) as u16;
        (flags & AVAIL != 0) == self.used_wrap && (flags & USED != 0) == self.used_wrap
    }

    pub(crate) fn collect(&mut self) -> Option<RawUsed> {
        if !self.has_used() {
            return None;
        }
        let at = self.config.descriptor + 16 * u64::from(self.used) + 8;
        let word = u64::from_le(self.ram.load(at));
        let written = (word >> 48) as u16 & WRITE != 0;
        Some(RawUsed {
            id: (word >> 32) as u16 as u32,
            // Without WRITE the length means nothing (section 2.8.4).
            len: if written { word as u32 } else { 0 },
        })
    }

    /// Goes past a used chain of so many descriptors.
    pub(crate) fn advance(&mut self, descriptors: u16) {
        self.used += descriptors;
        if self.used >= self.config.size.get() {
            self.used -= self.config.size.get();
            self.used_wrap = !self.used_wrap;
        }
        if self.interrupts {
            self.set_interrupts(true);
        }
    }

    pub(crate) fn set_interrupts(&mut self, on: bool) {
        self.interrupts = on;
        let wrap = if self.used_wrap { WRAP } else { 0 };
        let event_idx = self.config.features.contains(Features::EVENT_IDX);
        self.set_driver_event(
            self.used | wrap,
            match (on, event_idx) {
                (false, _) => 1,
                (true, false) => 0,
                (true, true) => 2,
            },
        );
        fence(Ordering::SeqCst);
    }

    /// Overwrites the driver event suppression structure: offset with wrap counter, and flags.
    pub fn set_driver_event(&self, offset: u16, flags: u16) {
        self.ram.store(self.config.driver, offset.to_le());
        self.ram.store(self.config.driver + 2, flags.to_le());
    }
}

const WRAP: u16 = 1 << 15;
