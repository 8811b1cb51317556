//! One ring, its driver, and nothing else.

#![allow(dead_code, reason = "not every test needs all of it")]

use testkit::{BOUNDARY, DriverQueue, Heap, Interrupts, Memory, Segment, Space, memory};
use virtio_device::{Chain, Features, QueueError, Ring, Virtqueue};

/// A ring and its driver.
pub(crate) struct Rig {
    pub(crate) memory: Space,
    pub(crate) heap: Heap,
    pub(crate) driver: DriverQueue<Space>,
    pub(crate) ring: Ring,
    pub(crate) interrupts: Interrupts,
}

impl Rig {
    /// A queue of `size` for these features besides VERSION_1.
    pub(crate) fn new(size: u16, features: Features) -> Self {
        let memory = memory();
        let heap = Heap::new(0x1000, BOUNDARY);
        let features = features | Features::VERSION_1;
        let driver = DriverQueue::new(memory.clone(), heap.clone(), size, features);
        let ring = Ring::new(*driver.config()).expect("a good ring");
        Self {
            memory,
            heap,
            driver,
            ring,
            interrupts: Interrupts::default(),
        }
    }

    /// One wake-up.
    pub(crate) fn wake<T>(&mut self, f: impl FnOnce(&mut Virtqueue<'_, Memory>) -> T) -> T {
        let memory: &Memory = &self.memory;
        let queue = Virtqueue::attach(0, &mut self.ring, memory, &self.interrupts);
        f(&mut queue.expect("a good ring"))
    }

    /// Makes a chain of segments of these lengths available; returns its id.
    pub(crate) fn offer(&mut self, readable: &[u32], writable: &[u32]) -> u16 {
        let segments = self.segments(readable, writable);
        let id = self.driver.add(&segments).expect("room");
        self.driver.publish();
        id
    }

    pub(crate) fn segments(&self, readable: &[u32], writable: &[u32]) -> Vec<Segment> {
        let segment = |&len: &u32, writable| Segment {
            address: self.heap.alloc(len.into(), 1),
            len,
            writable,
        };
        let readable = readable.iter().map(|len| segment(len, false));
        let writable = writable.iter().map(|len| segment(len, true));
        readable.chain(writable).collect()
    }

    /// Pops one chain in a wake-up of its own.
    pub(crate) fn pop(&mut self) -> Result<Option<Chain>, QueueError> {
        let mut chain = Chain::new();
        let popped = self.wake(|queue| queue.pop(&mut chain))?;
        Ok(popped.then_some(chain))
    }

    /// Pushes one chain in a wake-up of its own.
    pub(crate) fn push(&mut self, chain: &mut Chain, written: u32) {
        self.wake(|queue| queue.push(chain, written));
    }

    pub(crate) fn interrupts(&self) -> u32 {
        self.interrupts.queue(0)
    }

    /// All that has been used: ids and lengths.
    pub(crate) fn collect(&mut self) -> Vec<(u16, u32)> {
        std::iter::from_fn(|| self.driver.collect())
            .map(|used| (used.id, used.len))
            .collect()
    }
}

/// Every mix of ring features.
pub(crate) fn mixes() -> impl Iterator<Item = Features> {
    let ring = [
        Features::RING_PACKED,
        Features::INDIRECT_DESC,
        Features::EVENT_IDX,
        Features::IN_ORDER,
    ];
    (0..16).map(move |bits: usize| {
        let chosen = ring.iter().enumerate().filter(|(i, _)| bits >> i & 1 != 0);
        chosen.fold(Features::NONE, |mix, (_, &feature)| mix | feature)
    })
}
