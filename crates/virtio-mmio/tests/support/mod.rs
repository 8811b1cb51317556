//! A toy device behind the transport, and the driver's side of it.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses its own part of the support"
)]

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use virtio_bus::{InlineRunner, VirtioProps};
use virtio_device::vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use virtio_device::{
    Activation, AddressSpace, Chain, ConfigCell, Cx, DeviceHost, DeviceId, Error, Features, Info,
    Placed, Progress, QueueSize, Result, SavedState, VirtioDevice, Worker,
};
use virtio_mmio::vm_device::DeviceMmio;
use virtio_mmio::vm_device::bus::MmioAddress;
use virtio_mmio::{IrqLine, MmioParts, MmioProps, MmioSlot, MmioTransport};

pub type Memory = Arc<GuestMemoryMmap<()>>;

/// Two queues; writes an `x` into every buffer. Its configuration space is 12 bytes long, of which
/// the driver may write the first four.
pub struct Toy {
    config: Arc<ConfigCell>,
    served: Arc<AtomicU32>,
    host: Arc<Mutex<Option<Arc<dyn DeviceHost>>>>,
    fails: bool,
}

pub struct ToyWorker(Arc<AtomicU32>);

impl VirtioDevice for Toy {
    type Worker<AS: AddressSpace> = ToyWorker;

    fn info(&self) -> Info {
        Info {
            id: DeviceId(42),
            features: TOY_FEATURE,
            dependencies: &[],
            queue_sizes: vec![QueueSize::of(8), QueueSize::of(16)],
        }
    }

    fn config(&self) -> Arc<ConfigCell> {
        self.config.clone()
    }

    fn write_config(&mut self, offset: u64, data: &[u8]) {
        for (at, &byte) in (offset..4).zip(data) {
            self.config.write(at as usize, &[byte]);
        }
    }

    fn activate<AS: AddressSpace>(&mut self, on: Activation) -> Result<Vec<Placed<ToyWorker>>> {
        *self.host.lock().unwrap() = Some(on.host);
        if self.fails {
            return Err(Error::Misuse("as told"));
        }
        Ok(vec![Placed {
            worker: ToyWorker(self.served.clone()),
            queues: vec![0, 1],
        }])
    }

    fn deactivate<AS: AddressSpace>(&mut self, _: Vec<ToyWorker>) {}

    fn reset(&mut self) {
        self.config.write(0, &CONFIG);
    }

    fn save(&self) -> Result<SavedState> {
        Ok(SavedState::new("toy", 1, self.config.snapshot().into()))
    }

    fn restore(&mut self, state: &SavedState) -> Result<()> {
        self.config.write(0, state.expect("toy", 1)?);
        Ok(())
    }
}

impl<AS: AddressSpace> Worker<AS> for ToyWorker {
    fn kick(&mut self, queue: u16, cx: &mut Cx<'_, AS>) -> Result<Progress> {
        let mut chain = Chain::new();
        let Some(mut queue) = cx.queue(queue) else {
            return Ok(Progress::Idle);
        };
        while queue.pop(&mut chain)? {
            self.0.fetch_add(1, Ordering::Relaxed);
            chain.write_at(queue.view(), 0, b"x")?;
            queue.push(&mut chain, 1);
        }
        Ok(Progress::Idle)
    }
}

/// The interrupt line as the guest sees it: every level that it was driven to.
#[derive(Clone, Default)]
pub struct Levels(Arc<Mutex<Vec<bool>>>);

impl Levels {
    pub fn line(&self) -> impl IrqLine + 'static {
        let levels = self.0.clone();
        move |high| {
            levels.lock().unwrap().push(high);
            Ok(())
        }
    }

    pub fn is_high(&self) -> bool {
        self.0.lock().unwrap().last() == Some(&true)
    }
}

/// A transport with a toy in it, and 1 MiB of guest memory.
pub struct Board {
    pub transport: MmioTransport<Memory>,
    pub memory: Memory,
    pub runner: InlineRunner<Memory>,
    pub levels: Levels,
    pub served: Arc<AtomicU32>,
    host: Arc<Mutex<Option<Arc<dyn DeviceHost>>>>,
}

/// How a board differs from the plain one.
#[derive(Default)]
pub struct Options {
    pub props: MmioProps,
    pub virtio: VirtioProps,
    pub fails: bool,
    pub slot: Option<MmioSlot>,
}

impl Board {
    pub fn new() -> Self {
        Self::with(Options::default())
    }

    pub fn legacy() -> Self {
        Self::with(Options {
            props: MmioProps::default().force_legacy(true),
            ..Options::default()
        })
    }

    pub fn with(options: Options) -> Self {
        let memory =
            Arc::new(GuestMemoryMmap::from_ranges(&[(GuestAddress(0), MEMORY)]).expect("memory"));
        let (levels, runner) = (Levels::default(), InlineRunner::new());
        let (served, host) = (Arc::default(), Arc::default());
        let toy = Toy {
            config: Arc::new(ConfigCell::new(CONFIG)),
            served: Arc::clone(&served),
            host: Arc::clone(&host),
            fails: options.fails,
        };
        let parts = MmioParts {
            device: Box::new(toy),
            runner: Arc::new(runner.clone()),
            memory: memory.clone(),
            features: options.virtio.features(),
        };
        let slot = options
            .slot
            .unwrap_or_else(|| MmioSlot::new(BASE, levels.line()));
        Self {
            transport: MmioTransport::new(slot, &options.props, parts).expect("transport"),
            memory,
            runner,
            levels,
            served,
            host,
        }
    }

    pub fn access(&self, offset: u64, data: &mut [u8]) {
        self.transport.mmio_read(MmioAddress(BASE), offset, data);
    }

    pub fn store(&self, offset: u64, data: &[u8]) {
        self.transport.mmio_write(MmioAddress(BASE), offset, data);
    }

    pub fn read(&self, offset: u64) -> u32 {
        let mut data = [0; 4];
        self.access(offset, &mut data);
        u32::from_le_bytes(data)
    }

    pub fn write(&self, offset: u64, value: u32) {
        self.store(offset, &value.to_le_bytes());
    }

    pub fn offered(&self) -> u64 {
        let page = |select| {
            self.write(DEVICE_FEATURES_SEL, select);
            u64::from(self.read(DEVICE_FEATURES))
        };
        page(0) | page(1) << 32
    }

    pub fn accept(&self, features: u64) {
        self.write(DRIVER_FEATURES_SEL, 0);
        self.write(DRIVER_FEATURES, features as u32);
        self.write(DRIVER_FEATURES_SEL, 1);
        self.write(DRIVER_FEATURES, (features >> 32) as u32);
    }

    /// Up to FEATURES_OK, with `features`.
    pub fn negotiate(&self, features: u64) {
        self.write(STATUS, 0);
        self.write(STATUS, 1);
        self.write(STATUS, 3);
        self.accept(features);
        self.write(STATUS, 11);
    }

    /// Programs and enables queue `queue` with 8 descriptors.
    pub fn set_up_queue(&self, queue: u16) {
        self.write(QUEUE_SEL, queue.into());
        self.write(QUEUE_SIZE, 8);
        let [descriptor, driver, device] = areas(queue);
        for (register, address) in [(0x80, descriptor), (0x90, driver), (0xa0, device)] {
            self.write(register, address);
            self.write(register + 4, 0);
        }
        self.write(QUEUE_READY, 1);
    }

    /// A running device with VERSION_1 and `features`, and both queues.
    pub fn start(&self, features: u64) {
        self.negotiate(VERSION_1 | features);
        (0..2).for_each(|queue| self.set_up_queue(queue));
        self.write(STATUS, 15);
        assert_eq!(self.read(STATUS), 15);
    }

    /// Makes one writable byte available as the buffer numbered `n` since the queue's start.
    pub fn offer(&self, queue: u16, n: u16) {
        let [descriptor, driver, _] = areas(queue).map(u64::from);
        let slot = n % 8;
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&buffer(queue, n).to_le_bytes());
        bytes[8] = 1;
        bytes[12] = 2;
        self.poke(descriptor + 16 * u64::from(slot), &bytes);
        self.poke(driver + 4 + 2 * u64::from(slot), &slot.to_le_bytes());
        self.poke(driver + 2, &(n + 1).to_le_bytes());
    }

    pub fn used(&self, queue: u16) -> u16 {
        let device = u64::from(areas(queue)[2]);
        self.memory
            .read_obj(GuestAddress(device + 2))
            .expect("used ring")
    }

    pub fn notify(&self, queue: u16) {
        self.write(QUEUE_NOTIFY, queue.into());
        self.runner.run();
    }

    pub fn poke(&self, address: u64, bytes: &[u8]) {
        self.memory
            .write_slice(bytes, GuestAddress(address))
            .expect("guest memory");
    }

    pub fn served(&self) -> u32 {
        self.served.load(Ordering::Relaxed)
    }

    pub fn host(&self) -> Arc<dyn DeviceHost> {
        self.host.lock().unwrap().clone().expect("active")
    }
}

/// Descriptor, driver and device area of a queue.
pub fn areas(queue: u16) -> [u32; 3] {
    let base = 0x1_0000 * (1 + u32::from(queue));
    [base, base + 0x1000, base + 0x2000]
}

pub fn buffer(queue: u16, n: u16) -> u64 {
    0x8_0000 + 0x1000 * u64::from(queue) + u64::from(n % 8)
}

pub const BASE: u64 = 0xd000_0000;
pub const MEMORY: usize = 1 << 20;
pub const CONFIG: [u8; 12] = *b"a toy device";
pub const TOY_FEATURE: Features = Features::bit(0);

pub const VERSION_1: u64 = 1 << 32;
pub const RING_RESET: u64 = 1 << 40;

pub const DEVICE_FEATURES: u64 = 0x010;
pub const DEVICE_FEATURES_SEL: u64 = 0x014;
pub const DRIVER_FEATURES: u64 = 0x020;
pub const DRIVER_FEATURES_SEL: u64 = 0x024;
pub const GUEST_PAGE_SIZE: u64 = 0x028;
pub const QUEUE_SEL: u64 = 0x030;
pub const QUEUE_SIZE_MAX: u64 = 0x034;
pub const QUEUE_SIZE: u64 = 0x038;
pub const QUEUE_ALIGN: u64 = 0x03c;
pub const QUEUE_PFN: u64 = 0x040;
pub const QUEUE_READY: u64 = 0x044;
pub const QUEUE_NOTIFY: u64 = 0x050;
pub const INTERRUPT_STATUS: u64 = 0x060;
pub const INTERRUPT_ACK: u64 = 0x064;
pub const STATUS: u64 = 0x070;
pub const QUEUE_RESET: u64 = 0x0c0;
pub const CONFIG_GENERATION: u64 = 0x0fc;
pub const CONFIG_SPACE: u64 = 0x100;
