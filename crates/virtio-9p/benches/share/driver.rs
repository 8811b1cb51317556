//! A guest: memory, a driver that is as cheap as it can be, and the device behind it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use testkit::p9::Wire;
use virtio_9p::p9_server::{Limits, Local, SecurityModel};
use virtio_9p::{NineP, NinePProps, NinePWorker};
use virtio_device::vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use virtio_device::vmm_sys_util::eventfd::EventFd;
use virtio_device::{
    Activation, ByteOrder, Cx, DeviceHost, Features, Interrupt, IrqSource, QueueSize, Reactor,
    Ring, RingConfig, Source, VirtioDevice, Worker,
};

use crate::{BLOCK, options};

type Memory = GuestMemoryMmap<()>;

/// A guest with one request at a time: a chain of a message and the room for its reply.
pub(crate) struct Guest {
    memory: Arc<Memory>,
    worker: NinePWorker<Local>,
    rings: Vec<Option<Ring>>,
    made: u16,
}

impl Guest {
    pub(crate) fn new(directory: &Path, model: SecurityModel) -> Self {
        let local = Local::new(directory, options(model)).expect("a directory");
        let props = NinePProps::default().mount_tag(Some("bench".into()));
        let device = NineP::new(&props, Arc::new(local), Limits::default());
        let mut device = device.expect("a device");
        let workers = device.activate::<Arc<Memory>>(Activation {
            features: Features::VERSION_1,
            order: ByteOrder::Little,
            queues: vec![0],
            host: Arc::new(Nobody),
        });
        let placed = workers.expect("a worker").pop().expect("a worker");
        let memory = Memory::from_ranges(&[(GuestAddress(0), 1 << 20)]);
        let guest = Self {
            memory: Arc::new(memory.expect("1 MiB")),
            worker: placed.worker,
            rings: vec![Some(Ring::new(CONFIG).expect("a ring"))],
            made: 0,
        };
        guest.write_descriptors();
        guest
    }

    /// They never change: room for a request, and for its reply. Their chain is number 0, which the
    /// available ring is full of.
    fn write_descriptors(&self) {
        let chain = [
            (REQUEST, (REPLY - REQUEST) as u32, NEXT),
            (REPLY, BLOCK as u32 + 11, WRITE),
        ];
        for (at, (address, len, flags)) in (0..).zip(chain) {
            let rest = u64::from(len) | flags << 32 | (at + 1) << 48;
            let descriptor = u128::from(address) | u128::from(rest) << 64;
            self.store(CONFIG.descriptor + 16 * at, &descriptor.to_le_bytes());
        }
    }

    /// Has the device serve `request`; the length of the reply, which stays where it is.
    pub(crate) fn serve(&mut self, request: &[u8]) -> u32 {
        self.store(REQUEST, request);
        let slot = u64::from(self.made % SIZE);
        self.made = self.made.wrapping_add(1);
        self.store(CONFIG.driver + 2, &self.made.to_le_bytes());
        let mut reactor = Nobody;
        let mut cx: Cx<'_, Arc<Memory>> = Cx::new(
            &mut self.rings,
            &self.memory,
            &Nobody,
            &mut reactor,
            &Nobody,
        );
        self.worker.kick(0, &mut cx).expect("a good driver");
        let used = GuestAddress(CONFIG.device + 2);
        let used: u16 = self.memory.read_obj(used).expect("in memory");
        assert_eq!(used, self.made, "it is done at once");
        let length = GuestAddress(CONFIG.device + 4 + 8 * slot + 4);
        self.memory.read_obj(length).expect("in memory")
    }

    fn store(&self, at: u64, bytes: &[u8]) {
        let stored = self.memory.write_slice(bytes, GuestAddress(at));
        stored.expect("in memory");
    }
}

impl Wire for Guest {
    fn exchange(&mut self, request: &[u8]) -> Vec<u8> {
        let mut reply = vec![0; self.serve(request) as usize];
        let read = self.memory.read_slice(&mut reply, GuestAddress(REPLY));
        read.expect("in memory");
        reply
    }
}

/// Nobody is told of anything: the driver calls the device, which is done at once.
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

const SIZE: u16 = 128;
const CONFIG: RingConfig = RingConfig {
    size: QueueSize::of(SIZE),
    descriptor: 0,
    driver: 0x4000,
    device: 0x8000,
    features: Features::VERSION_1,
    order: ByteOrder::Little,
};
const REQUEST: u64 = 0x10000;
const REPLY: u64 = 0x20000;
const NEXT: u64 = 1;
const WRITE: u64 = 2;
