//! The driver's side of a virtqueue, of either format.

use std::collections::{HashMap, VecDeque};

use virtio_device::{AddressSpace, ByteOrder, Features, QueueSize, RingConfig, RingFormat};

use crate::descriptor::{INDIRECT, RawDescriptor, Segment, WRITE};
use crate::split::link;
use crate::{Heap, PackedDriver, Ram, SplitDriver};

/// A virtqueue as its driver sees it: it lays the ring out in guest memory, makes chains
/// available, and checks of every used one that the device was entitled to use it.
///
/// It panics where the *device* breaks the rules: an id that is not in flight, more bytes than the
/// chain can take, or, with IN_ORDER, another order.
#[derive(Debug)]
pub struct DriverQueue<AS> {
    ram: Ram<AS>,
    heap: Heap,
    config: RingConfig,
    ring: DriverRing<AS>,
    indirect: bool,
    in_flight: HashMap<u16, InFlight>,
    order: VecDeque<u16>,
}

/// The ring itself, for tests that forge.
#[derive(Debug)]
pub enum DriverRing<AS> {
    /// Split (section 2.7).
    Split(SplitDriver<AS>),
    /// Packed (section 2.8).
    Packed(PackedDriver<AS>),
}

/// A chain that the device has given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// What [`DriverQueue::add`] returned.
    pub id: u16,
    /// Bytes that the device says it wrote.
    pub len: u32,
}

/// A used entry as it is in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawUsed {
    pub(crate) id: u32,
    pub(crate) len: u32,
}

#[derive(Debug)]
struct InFlight {
    /// Split: indices; packed: only their number counts.
    descriptors: Vec<u16>,
    table: Option<(u64, u64)>,
    writable: u64,
}

impl<AS: AddressSpace> DriverQueue<AS> {
    /// Allocates a queue of `size` descriptors for these negotiated features. Chains are indirect
    /// where that was negotiated; see [`set_indirect`](Self::set_indirect).
    pub fn new(space: AS, heap: Heap, size: u16, features: Features) -> Self {
        Self::with_order(space, heap, size, features, ByteOrder::Little)
    }

    /// As [`new`](Self::new), for a legacy driver of this byte order.
    pub fn with_order(
        space: AS,
        heap: Heap,
        size: u16,
        features: Features,
        order: ByteOrder,
    ) -> Self {
        let mut config = blank(size, features, order);
        let (driver, device) = area_lengths(&config);
        config.descriptor = heap.alloc(16 * u64::from(config.size.get()), 64);
        config.driver = heap.alloc(driver, 64);
        config.device = heap.alloc(device, 64);
        Self::at(space, heap, config)
    }

    /// As legacy drivers lay it out: one area after the other, the used ring at a multiple of 4096
    /// (the legacy interface note of section 2.7).
    pub fn in_one_area(
        space: AS,
        heap: Heap,
        size: u16,
        features: Features,
        order: ByteOrder,
    ) -> Self {
        let mut config = blank(size, features, order);
        let (driver, device) = area_lengths(&config);
        let first = 16 * u64::from(size) + driver;
        let used = first.next_multiple_of(4096);
        config.descriptor = heap.alloc(used + device, 4096);
        config.driver = config.descriptor + 16 * u64::from(size);
        config.device = config.descriptor + used;
        heap.free(config.descriptor + first, used - first);
        Self::at(space, heap, config)
    }

    fn at(space: AS, heap: Heap, config: RingConfig) -> Self {
        let ram = Ram(space);
        let features = config.features;
        let (driver, device) = area_lengths(&config);
        let table = 16 * u64::from(config.size.get());
        for (at, len) in [
            (config.descriptor, table),
            (config.driver, driver),
            (config.device, device),
        ] {
            ram.write(at, &vec![0; len as usize]);
        }
        let ring = match config.format() {
            RingFormat::Split => DriverRing::Split(SplitDriver::new(ram.clone(), config)),
            RingFormat::Packed => DriverRing::Packed(PackedDriver::new(ram.clone(), config)),
        };
        let mut queue = Self {
            ram,
            heap,
            config,
            ring,
            indirect: features.contains(Features::INDIRECT_DESC),
            in_flight: HashMap::new(),
            order: VecDeque::new(),
        };
        queue.set_interrupts(true);
        queue
    }

    /// Where it lies.
    pub fn config(&self) -> &RingConfig {
        &self.config
    }

    /// Whether chains of more than one segment go into indirect tables. Needs INDIRECT_DESC.
    pub fn set_indirect(&mut self, on: bool) {
        self.indirect = on && self.config.features.contains(Features::INDIRECT_DESC);
    }

    /// Descriptors in the ring that are free.
    pub fn free(&self) -> u16 {
        match &self.ring {
            DriverRing::Split(ring) => ring.free(),
            DriverRing::Packed(ring) => ring.free(),
        }
    }

    /// Chains that the device has not given back.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Adds a chain; the device sees it after [`publish`](Self::publish). `None` where the ring
    /// has no room, or `segments` is empty.
    pub fn add(&mut self, segments: &[Segment]) -> Option<u16> {
        let mut chain = describe(segments);
        let table = (self.indirect && chain.len() > 1 && self.free() > 0)
            .then(|| self.write_table(&self.table_of(&chain)));
        if let Some((address, len)) = table {
            chain = vec![RawDescriptor {
                address,
                len: len as u32,
                flags: INDIRECT,
                next: 0,
            }];
        }
        let (id, descriptors) = match &mut self.ring {
            DriverRing::Split(ring) => ring.place(&chain)?,
            DriverRing::Packed(ring) => ring
                .place(&chain)
                .map(|(id, len)| (id, (0..len).collect()))?,
        };
        let writable = segments.iter().filter(|segment| segment.writable);
        let chain = InFlight {
            descriptors,
            table,
            writable: writable.map(|segment| u64::from(segment.len)).sum(),
        };
        assert!(
            self.in_flight.insert(id, chain).is_none(),
            "one chain per id"
        );
        self.order.push_back(id);
        Some(id)
    }

    /// Shows the device what was added. True if it wants to be notified of it.
    pub fn publish(&mut self) -> bool {
        match &mut self.ring {
            DriverRing::Split(ring) => ring.publish(),
            DriverRing::Packed(ring) => ring.publish(),
        }
    }

    /// Whether there is something to [`collect`](Self::collect).
    pub fn has_used(&self) -> bool {
        match &self.ring {
            DriverRing::Split(ring) => ring.has_used(),
            DriverRing::Packed(ring) => ring.has_used(),
        }
    }

    /// Takes the next used chain.
    ///
    /// # Panics
    /// Where the device broke the rules.
    pub fn collect(&mut self) -> Option<Used> {
        let raw = match &mut self.ring {
            DriverRing::Split(ring) => ring.collect(),
            DriverRing::Packed(ring) => ring.collect(),
        }?;
        let id = u16::try_from(raw.id).expect("the device used an id that there cannot be");
        let chain = self.in_flight.remove(&id);
        let chain = chain.unwrap_or_else(|| panic!("the device used {id}, which it did not have"));
        let (len, writable) = (raw.len, chain.writable);
        assert!(u64::from(len) <= writable, "{len} bytes used of {writable}");
        self.check_order(id);
        if let Some((at, len)) = chain.table {
            self.heap.free(at, len);
        }
        let descriptors = chain.descriptors.len() as u16;
        match &mut self.ring {
            DriverRing::Split(ring) => {
                ring.advance(descriptors);
                ring.release(chain.descriptors);
            }
            DriverRing::Packed(ring) => {
                ring.advance(descriptors);
                ring.release(id, descriptors);
            }
        }
        Some(Used { id, len })
    }

    /// Asks the device for interrupts, of the next used buffer on, or for none. True if there is
    /// something used already, for which no interrupt will come.
    pub fn set_interrupts(&mut self, on: bool) -> bool {
        match &mut self.ring {
            DriverRing::Split(ring) => ring.set_interrupts(on),
            DriverRing::Packed(ring) => ring.set_interrupts(on),
        }
        self.has_used()
    }

    /// The ring, to forge what a well-behaved driver does not write.
    pub fn ring_mut(&mut self) -> &mut DriverRing<AS> {
        &mut self.ring
    }

    /// Guest memory.
    pub fn ram(&self) -> &Ram<AS> {
        &self.ram
    }

    /// Guest memory's allocator.
    pub fn heap(&self) -> &Heap {
        &self.heap
    }

    /// Makes one chain of exactly these descriptors available, however wrong: at index 0 of a
    /// split table, at the next place of a packed ring. The queue must be fresh, and is good for
    /// nothing else afterwards.
    pub fn forge(&mut self, chain: &[RawDescriptor]) {
        match &mut self.ring {
            DriverRing::Split(ring) => {
                for (index, &descriptor) in (0..).zip(chain) {
                    ring.write_descriptor(index, descriptor);
                }
                ring.push_head(0);
            }
            DriverRing::Packed(ring) => ring.place_raw(chain),
        }
        self.publish();
    }

    /// Writes an indirect table of exactly these descriptors; returns where and how long.
    pub fn write_table(&self, table: &[RawDescriptor]) -> (u64, u64) {
        let encode = |descriptor: &RawDescriptor| match self.ring {
            DriverRing::Split(_) => descriptor.split(self.config.order),
            DriverRing::Packed(_) => descriptor.packed(),
        };
        let bytes: Vec<u8> = table.iter().flat_map(encode).collect();
        let at = self.heap.alloc(bytes.len() as u64, 16);
        self.ram.write(at, &bytes);
        (at, bytes.len() as u64)
    }

    /// A packed table has neither NEXT nor ids (section 2.8.7).
    fn table_of(&self, chain: &[RawDescriptor]) -> Vec<RawDescriptor> {
        let entry = |&descriptor: &RawDescriptor| match self.ring {
            DriverRing::Split(_) => descriptor,
            DriverRing::Packed(_) => RawDescriptor {
                flags: descriptor.flags & WRITE,
                next: 0,
                ..descriptor
            },
        };
        chain.iter().map(entry).collect()
    }

    fn check_order(&mut self, id: u16) {
        if self.config.features.contains(Features::IN_ORDER) {
            assert_eq!(self.order.pop_front(), Some(id), "used out of order");
        } else {
            self.order.retain(|&other| other != id);
        }
    }
}

impl<AS> Drop for DriverQueue<AS> {
    /// Gives its memory back. By then the device must have let go of the queue.
    fn drop(&mut self) {
        let (driver, device) = area_lengths(&self.config);
        let RingConfig { size, .. } = self.config;
        self.heap
            .free(self.config.descriptor, 16 * u64::from(size.get()));
        self.heap.free(self.config.driver, driver);
        self.heap.free(self.config.device, device);
        for (at, len) in self.in_flight.values().filter_map(|chain| chain.table) {
            self.heap.free(at, len);
        }
    }
}

/// A queue that lies nowhere yet.
fn blank(size: u16, features: Features, order: ByteOrder) -> RingConfig {
    RingConfig {
        size: QueueSize::new(size).expect("a queue size"),
        descriptor: 0,
        driver: 0,
        device: 0,
        features,
        order,
    }
}

/// Lengths of driver and device area in bytes.
fn area_lengths(config: &RingConfig) -> (u64, u64) {
    let size = u64::from(config.size.get());
    match config.format() {
        RingFormat::Split => (6 + 2 * size, 6 + 8 * size),
        RingFormat::Packed => (4, 4),
    }
}

/// A linked chain of `segments`.
pub fn describe(segments: &[Segment]) -> Vec<RawDescriptor> {
    let mut chain: Vec<_> = segments
        .iter()
        .map(|&segment| RawDescriptor::of(segment, false))
        .collect();
    link(&mut chain);
    chain
}
