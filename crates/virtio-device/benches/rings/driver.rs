//! The guest's side of a ring, as cheap as it can be: the areas are resolved once and only what
//! has to change between rounds is written.

use std::sync::atomic::{Ordering, fence};

use virtio_device::{ByteOrder, Features, QueueSize, RingConfig};
use vm_memory::bitmap::{BS, Bitmap};
use vm_memory::{
    Bytes, GuestAddress, GuestMemory, GuestMemoryMmap, GuestRegionMmap, Permissions, VolatileSlice,
};

pub(crate) const SIZE: u16 = 256;
pub(crate) const BUFFER: u32 = 512;

/// Two regions: rings and indirect tables in the first, buffers in the second.
pub(crate) fn memory<B: Bitmap + vm_memory::bitmap::NewBitmap>() -> GuestMemoryMmap<B> {
    GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 1 << 20), (GuestAddress(BUFFERS), 1 << 20)])
        .expect("2 MiB of memory")
}

/// What the chains of a run look like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) descriptors: u16,
    pub(crate) indirect: bool,
    pub(crate) packed: bool,
}

impl Shape {
    /// Descriptors in the ring per chain.
    fn in_ring(self) -> u16 {
        if self.indirect { 1 } else { self.descriptors }
    }

    /// Chains that fill the ring, as a multiple of 32.
    pub(crate) fn chains(self) -> u16 {
        SIZE / self.in_ring() / 32 * 32
    }

    pub(crate) fn config(self) -> RingConfig {
        RingConfig {
            size: QueueSize::of(SIZE),
            descriptor: 0,
            driver: AVAIL,
            device: USED,
            features: Features::VERSION_1
                | Features::EVENT_IDX
                | Features::INDIRECT_DESC
                | Features::RING_PACKED.when(self.packed),
            order: ByteOrder::Little,
        }
    }
}

/// A driver that makes the same chains available over and over.
pub(crate) struct Driver<'m, B: Bitmap> {
    shape: Shape,
    ring: Slice<'m, B>,
    avail: Slice<'m, B>,
    used: Slice<'m, B>,
    made: u16,
    seen: u16,
    at: u16,
    wrap: bool,
    used_at: u16,
    used_wrap: bool,
}

type Slice<'m, B> = VolatileSlice<'m, BS<'m, B>>;

impl<'m, B: Bitmap + 'static> Driver<'m, B> {
    pub(crate) fn new(memory: &'m GuestMemoryMmap<B>, shape: Shape) -> Self
    where
        GuestRegionMmap<B>: vm_memory::GuestMemoryRegion<B = B>,
    {
        let area = |at| {
            let mut slices =
                GuestMemory::get_slices(memory, GuestAddress(at), 0x4000, Permissions::ReadWrite)
                    .expect("in memory");
            slices.next().expect("one slice").expect("in memory")
        };
        let mut driver = Self {
            shape,
            ring: area(0),
            avail: area(AVAIL),
            used: area(USED),
            made: 0,
            seen: 0,
            at: 0,
            wrap: true,
            used_at: 0,
            used_wrap: true,
        };
        driver.write_tables(&area(TABLES));
        driver
    }

    /// Split descriptors and indirect tables never change.
    fn write_tables(&mut self, tables: &Slice<'m, B>) {
        let n = self.shape.descriptors;
        for chain in 0..self.shape.chains() {
            for i in 0..n {
                let (address, flags) = self.buffer(chain, i);
                let last = i + 1 == n;
                let flags = flags | if last { 0 } else { 1 };
                if self.shape.indirect {
                    let at = chain % (1024 / n) * n + i;
                    // A packed table has id and flags where a split one has flags and next.
                    match self.shape.packed {
                        true => descriptor(tables, at, address, BUFFER, 0, flags & 2),
                        false => descriptor(tables, at, address, BUFFER, flags, i + 1),
                    }
                } else if !self.shape.packed {
                    let index = chain * n + i;
                    descriptor(&self.ring, index, address, BUFFER, flags, index + 1);
                }
            }
            if !self.shape.packed {
                if self.shape.indirect {
                    let (at, len) = self.table(chain);
                    descriptor(&self.ring, chain, at, len, 4, 0);
                }
                let slot = 4 + 2 * usize::from(chain);
                store(&self.avail, slot, chain * self.shape.in_ring());
            }
        }
    }

    fn buffer(&self, chain: u16, i: u16) -> (u64, u16) {
        let address = BUFFERS + u64::from(chain % 64) * 8192 + u64::from(i) * u64::from(BUFFER);
        // The first third is readable, as a request header is.
        (address, if i * 3 < self.shape.descriptors { 0 } else { 2 })
    }

    /// Tables of different chains may share memory: nobody writes them.
    fn table(&self, chain: u16) -> (u64, u32) {
        let n = self.shape.descriptors;
        let first = (chain % (1024 / n)) * n;
        (TABLES + u64::from(first) * 16, u32::from(n) * 16)
    }

    /// Makes `count` more chains available.
    pub(crate) fn make(&mut self, count: u16) {
        if count == 0 {
            return;
        }
        if self.shape.packed {
            (0..count).for_each(|_| self.make_packed());
        } else {
            // The ring of heads is a multiple of the chains only if it is rewritten.
            for i in 0..count {
                let made = self.made.wrapping_add(i);
                let slot = 4 + 2 * usize::from(made % SIZE);
                store(
                    &self.avail,
                    slot,
                    made % self.shape.chains() * self.shape.in_ring(),
                );
            }
            self.made = self.made.wrapping_add(count);
            self.avail
                .store(self.made, 2, Ordering::Release)
                .expect("in area");
        }
    }

    fn make_packed(&mut self) {
        let (chain, n) = (self.made % self.shape.chains(), self.shape.in_ring());
        self.made = self.made.wrapping_add(1);
        let first = self.at;
        let mut head = 0;
        for i in 0..n {
            let (address, len, flags) = if self.shape.indirect {
                let (address, len) = self.table(chain);
                (address, len, 4)
            } else {
                let (address, flags) = self.buffer(chain, i);
                (address, BUFFER, flags | if i + 1 < n { 1 } else { 0 })
            };
            let flags = flags | if self.wrap { 1 << 7 } else { 1 << 15 };
            let word = u64::from(len) | u64::from(chain) << 32 | u64::from(flags) << 48;
            let at = 16 * usize::from(self.at);
            self.ring
                .store(address, at, Ordering::Relaxed)
                .expect("in area");
            match i {
                0 => head = word,
                _ => self
                    .ring
                    .store(word, at + 8, Ordering::Relaxed)
                    .expect("in area"),
            }
            self.at = (self.at + 1) % SIZE;
            self.wrap ^= self.at == 0;
        }
        self.ring
            .store(head, 16 * usize::from(first) + 8, Ordering::Release)
            .expect("in area");
    }

    /// Counts the chains used since it was last asked, and asks for no interrupts.
    pub(crate) fn collect(&mut self) -> u16 {
        if !self.shape.packed {
            let used: u16 = self.used.load(2, Ordering::Acquire).expect("in area");
            let count = used.wrapping_sub(self.seen);
            self.seen = used;
            return count;
        }
        let mut count = 0;
        loop {
            let at = 16 * usize::from(self.used_at) + 14;
            let flags: u16 = self.ring.load(at, Ordering::Acquire).expect("in area");
            if (flags >> 15 != 0) != self.used_wrap || (flags >> 7 & 1 != 0) != self.used_wrap {
                return count;
            }
            count += 1;
            let next = self.used_at + self.shape.in_ring();
            self.used_wrap ^= next >= SIZE;
            self.used_at = next % SIZE;
        }
    }

    /// Asks for an interrupt at the very next used buffer, as a driver does between bursts.
    pub(crate) fn fence(&self) {
        fence(Ordering::SeqCst);
    }
}

fn descriptor<B: vm_memory::bitmap::BitmapSlice>(
    table: &VolatileSlice<'_, B>,
    index: u16,
    address: u64,
    len: u32,
    flags: u16,
    next: u16,
) {
    let at = 16 * usize::from(index);
    let word = u64::from(len) | u64::from(flags) << 32 | u64::from(next) << 48;
    table
        .store(address, at, Ordering::Relaxed)
        .expect("in area");
    table
        .store(word, at + 8, Ordering::Relaxed)
        .expect("in area");
}

fn store<B: vm_memory::bitmap::BitmapSlice>(area: &VolatileSlice<'_, B>, at: usize, value: u16) {
    area.store(value, at, Ordering::Relaxed).expect("in area");
}

const AVAIL: u64 = 0x8000;
const USED: u64 = 0x10000;
const TABLES: u64 = 0x20000;
const BUFFERS: u64 = 0x1000_0000;
