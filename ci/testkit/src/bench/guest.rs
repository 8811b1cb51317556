//! A guest with one queue, and the worker behind it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use guest_io::Area;
use virtio_device::vmm_sys_util::eventfd::EventFd;
use virtio_device::{
    Activation, ByteOrder, Cx, DeviceHost, Features, Interrupt, IrqSource, QueueSize, Reactor,
    Ring, RingConfig, Source, VirtioDevice, Worker,
};
use vm_memory::{Bytes, GuestAddress, GuestMemory, GuestMemoryMmap, Permissions, VolatileSlice};

use crate::{RawDescriptor, Segment};

/// Memory of a guest, which nothing watches.
pub type Memory = GuestMemoryMmap<()>;

/// A guest that polls: nobody is interrupted, and nobody waits. Its ring is a split one of 512
/// descriptors, in the first [`RING`] bytes of its memory.
pub struct Guest<W> {
    memory: Arc<Memory>,
    worker: W,
    queue: u16,
    rings: Vec<Option<Ring>>,
    /// Chains made available, and seen used.
    made: u16,
    seen: u16,
}

/// The rings of a guest, resolved once.
pub struct Areas<'m> {
    driver: Area<'m, (), 4>,
    device: Area<'m, (), 4>,
}

impl<W: Worker<Arc<Memory>>> Guest<W> {
    /// A guest with `memory` bytes, whose driver has negotiated `features` with `device` and uses
    /// `queue`.
    pub fn new<D>(device: &mut D, queue: u16, features: Features, memory: usize) -> Self
    where
        D: VirtioDevice<Worker<Arc<Memory>> = W>,
    {
        let activation = Activation {
            features,
            order: ByteOrder::Little,
            queues: vec![queue],
            host: Arc::new(Nobody),
        };
        let workers = device.activate::<Arc<Memory>>(activation);
        let mut workers = workers.expect("workers").into_iter();
        let placed = workers.find(|placed| placed.queues.contains(&queue));
        let mut rings: Vec<_> = (0..queue).map(|_| None).collect();
        rings.push(Some(Ring::new(config(features)).expect("a ring")));
        let memory = Memory::from_ranges(&[(GuestAddress(0), memory)]);
        Self {
            memory: Arc::new(memory.expect("memory")),
            worker: placed.expect("the queue's worker").worker,
            queue,
            rings,
            made: 0,
            seen: 0,
        }
    }

    /// Its memory.
    pub fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// Makes `parts` a chain that begins at descriptor `head`, and goes on in those after it.
    pub fn describe(&self, head: u16, parts: &[Segment]) {
        for (at, (i, &part)) in (head..).zip(parts.iter().enumerate()) {
            let mut descriptor = RawDescriptor::of(part, i + 1 == parts.len());
            descriptor.next = at + 1;
            let bytes = descriptor.split(ByteOrder::Little);
            let at = GuestAddress(DESCRIPTORS + 16 * u64::from(at));
            self.memory.write_slice(&bytes, at).expect("in memory");
        }
    }

    /// Has the device use the chains at `heads`, and waits for all of them.
    pub fn exchange(&mut self, areas: &Areas<'_>, heads: impl Iterator<Item = u16>) {
        for head in heads {
            let slot = usize::from(self.made % SIZE);
            let stored = areas.driver.store(4 + 2 * slot, head, Ordering::Relaxed);
            stored.expect("in area");
            self.made = self.made.wrapping_add(1);
        }
        let index = areas.driver.store(2, self.made, Ordering::Release);
        index.expect("in area");
        self.serve();
        while self.seen != self.made {
            let used: u16 = areas.device.load(2, Ordering::Acquire).expect("in area");
            if used == self.seen {
                self.serve();
            }
            self.seen = used;
        }
    }

    /// How many bytes the device has written to the chain that it used last.
    pub fn last_len(&self, areas: &Areas<'_>) -> u32 {
        let slot = usize::from(self.made.wrapping_sub(1) % SIZE);
        let len = areas.device.load(4 + 8 * slot + 4, Ordering::Relaxed);
        len.expect("in area")
    }

    #[inline(never)]
    fn serve(&mut self) {
        let mut reactor = Nobody;
        let mut cx: Cx<'_, Arc<Memory>> = Cx::new(
            &mut self.rings,
            &self.memory,
            &Nobody,
            &mut reactor,
            &Nobody,
        );
        let kicked = self.worker.kick(self.queue, &mut cx);
        kicked.expect("a good driver");
    }
}

impl<'m> Areas<'m> {
    /// Those in `memory`.
    pub fn new(memory: &'m Memory) -> Self {
        let [driver, device] = [DRIVER, DEVICE].map(|at| Area::new(&area(memory, at)));
        Self {
            driver: driver.expect("aligned"),
            device: device.expect("aligned"),
        }
    }
}

/// The 16 KiB of `memory` from `at` on.
pub(super) fn area(memory: &Memory, at: u64) -> VolatileSlice<'_> {
    let at = GuestAddress(at);
    let slices = GuestMemory::get_slices(memory, at, AREA, Permissions::ReadWrite);
    let mut slices = slices.expect("in memory");
    slices.next().expect("one slice").expect("in memory")
}

fn config(features: Features) -> RingConfig {
    RingConfig {
        size: QueueSize::of(SIZE),
        descriptor: DESCRIPTORS,
        driver: DRIVER,
        device: DEVICE,
        features,
        order: ByteOrder::Little,
    }
}

/// Nobody is told of anything.
struct Nobody;

impl DeviceHost for Nobody {
    fn config_changed(&self) {}
    fn needs_reset(&self) {}
}

impl Interrupt for Nobody {
    fn trigger(&self, _: IrqSource) -> io::Result<()> {
        Ok(())
    }

    fn irqfd(&self, _: IrqSource) -> Option<EventFd> {
        None
    }
}

impl Reactor for Nobody {
    fn watch(&mut self, _: Source<'_>) -> io::Result<()> {
        Ok(())
    }

    fn unwatch(&mut self, _: u16) {}
}

const SIZE: u16 = 512;
const DESCRIPTORS: u64 = 0;
const DRIVER: u64 = 0x4000;
const DEVICE: u64 = 0x8000;
const AREA: usize = 0x4000;
/// Where memory is free for buffers.
pub const RING: u64 = 0xc000;
