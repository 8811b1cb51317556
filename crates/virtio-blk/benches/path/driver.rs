//! A guest: memory, a driver that is as cheap as it can be, and the device behind it.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use virtio_blk::guest_io::Mode;
use virtio_blk::virtio_device::vm_memory::{
    Bytes, GuestAddress, GuestMemory, GuestMemoryMmap, Permissions, VolatileSlice,
};
use virtio_blk::virtio_device::vmm_sys_util::eventfd::EventFd;
use virtio_blk::virtio_device::{
    Activation, ByteOrder, Cx, DeviceHost, Features, Interrupt, IrqSource, QueueSize, Reactor,
    Ring, RingConfig, Source, VirtioDevice, Worker,
};
use virtio_blk::{Blk, BlkProps, BlkWorker, RawChannel, RawImage};

use crate::{BLOCK, Contender};

type Memory = GuestMemoryMmap<()>;

/// A guest that reads.
pub(crate) struct Guest {
    memory: Arc<Memory>,
    worker: BlkWorker<RawChannel<Arc<Memory>>>,
    rings: Vec<Option<Ring>>,
    depth: usize,
    /// Chains made available, and seen used.
    made: u16,
    seen: u16,
}

impl Guest {
    pub(crate) fn new(file: &File, mode: Mode, depth: usize) -> Self {
        let image = RawImage::new(file.try_clone().expect("a descriptor"));
        let image = image.expect("an image").mode(mode);
        let props = BlkProps::default().queue_size(SIZE).share_rw(true);
        let mut device = Blk::new(&props, image).expect("a device");
        let activation = Activation {
            features: FEATURES,
            order: ByteOrder::Little,
            queues: vec![0],
            host: Arc::new(Nobody),
        };
        let workers = device.activate::<Arc<Memory>>(activation);
        let placed = workers.expect("a worker").pop().expect("a worker");
        let ranges = [(GuestAddress(0), 4 << 20)];
        let guest = Self {
            memory: Arc::new(Memory::from_ranges(&ranges).expect("4 MiB")),
            worker: placed.worker,
            rings: vec![Some(Ring::new(CONFIG).expect("a ring"))],
            depth,
            made: 0,
            seen: 0,
        };
        guest.write_descriptors();
        guest
    }

    /// They never change: header, data and status of each of the requests in flight.
    fn write_descriptors(&self) {
        for chain in 0..self.depth as u64 {
            let parts = [
                (HEADERS + 16 * chain, 16, NEXT),
                (BUFFERS + BLOCK as u64 * chain, BLOCK as u32, NEXT | WRITE),
                (STATUSES + chain, 1, WRITE),
            ];
            for (at, (address, len, flags)) in (3 * chain..).zip(parts) {
                let rest = u64::from(len) | flags << 32 | (at + 1) << 48;
                let descriptor = u128::from(address) | u128::from(rest) << 64;
                let at = GuestAddress(CONFIG.descriptor + 16 * at);
                let bytes = descriptor.to_le_bytes();
                self.memory.write_slice(&bytes, at).expect("in memory");
            }
        }
    }

    /// Has the device read `blocks`, which are as many as the depth, and waits for all of them.
    fn read_batch(&mut self, areas: &Areas<'_>, blocks: &[u64]) {
        for (chain, block) in (0u16..).zip(blocks) {
            let sector = block * (BLOCK as u64 / 512);
            store(&areas.headers, 16 * usize::from(chain) + 8, sector);
            let slot = usize::from(self.made.wrapping_add(chain) % SIZE);
            store(&areas.driver, 4 + 2 * slot, 3 * chain);
        }
        self.made = self.made.wrapping_add(blocks.len() as u16);
        areas
            .driver
            .store(self.made, 2, Ordering::Release)
            .expect("in area");
        self.serve();
        while self.seen != self.made {
            let used: u16 = areas.device.load(2, Ordering::Acquire).expect("in area");
            if used == self.seen {
                self.serve();
            }
            self.seen = used;
        }
        for chain in 0..blocks.len() {
            let status = areas.statuses.load::<u8>(chain, Ordering::Relaxed);
            assert_eq!(status.expect("in area"), 0, "read");
        }
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
        self.worker.kick(0, &mut cx).expect("a good driver");
    }
}

impl Contender for Guest {
    fn read(&mut self, blocks: &[u64]) {
        let memory = Arc::clone(&self.memory);
        let areas = Areas::new(&memory);
        for batch in blocks.chunks(self.depth) {
            self.read_batch(&areas, batch);
        }
    }
}

/// What the driver writes and reads, resolved once.
struct Areas<'m> {
    headers: VolatileSlice<'m>,
    statuses: VolatileSlice<'m>,
    driver: VolatileSlice<'m>,
    device: VolatileSlice<'m>,
}

impl<'m> Areas<'m> {
    fn new(memory: &'m Memory) -> Self {
        let [headers, statuses, driver, device] =
            [HEADERS, STATUSES, CONFIG.driver, CONFIG.device].map(|at| area(memory, at));
        Self {
            headers,
            statuses,
            driver,
            device,
        }
    }
}

/// Nobody is told of anything: the driver polls, and so does the device.
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

fn area(memory: &Memory, at: u64) -> VolatileSlice<'_> {
    let mut slices =
        GuestMemory::get_slices(memory, GuestAddress(at), 0x4000, Permissions::ReadWrite)
            .expect("in memory");
    slices.next().expect("one slice").expect("in memory")
}

fn store<T: virtio_blk::virtio_device::vm_memory::AtomicAccess>(
    area: &VolatileSlice<'_>,
    at: usize,
    value: T,
) {
    area.store(value, at, Ordering::Relaxed).expect("in area");
}

const SIZE: u16 = 512;
const FEATURES: Features = Features::VERSION_1
    .with(Features::EVENT_IDX)
    .with(Features::bit(9));
const CONFIG: RingConfig = RingConfig {
    size: QueueSize::of(SIZE),
    descriptor: 0,
    driver: 0x4000,
    device: 0x8000,
    features: FEATURES,
    order: ByteOrder::Little,
};
const HEADERS: u64 = 0x10000;
const STATUSES: u64 = 0x14000;
const BUFFERS: u64 = 0x100000;
const NEXT: u64 = 1;
const WRITE: u64 = 2;
