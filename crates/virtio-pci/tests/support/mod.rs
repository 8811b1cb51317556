//! A toy device behind the transport, the host around it, and the driver's side.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses its own part of the support"
)]

mod host;
mod toy;

use std::sync::Arc;

use testkit::{BOUNDARY, DriverQueue, Heap, Segment, memory};
use virtio_device::Features;
use virtio_pci::virtio_bus::{InlineRunner, Runner, VirtioProps};
use virtio_pci::vm_pci::PciFunction;
use virtio_pci::{Error, PciParts, PciProps, PciSlot, PciTransport, Place};

pub use host::{Bells, Sink, Wire};
pub use toy::{Toy, Worn};

pub type Space = testkit::Space;

/// A transport with a toy in it.
pub struct Board {
    pub transport: Arc<PciTransport<Space>>,
    pub memory: Space,
    pub heap: Heap,
    pub runner: InlineRunner<Space>,
    pub sink: Arc<Sink>,
    pub wire: Arc<Wire>,
    pub bells: Arc<Bells>,
    pub worn: Arc<Worn>,
}

/// How a board differs from the plain one.
pub struct Options {
    pub place: Place,
    pub props: PciProps,
    pub virtio: VirtioProps,
    pub runner: Option<Arc<dyn Runner<Space>>>,
    pub toy: Toy,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            place: Place::RootBus,
            props: PciProps::default(),
            virtio: VirtioProps::default(),
            runner: None,
            toy: Toy::default(),
        }
    }
}

impl Board {
    pub fn new() -> Self {
        Self::with(Options::default())
    }

    pub fn with(options: Options) -> Self {
        Self::try_with(options).unwrap_or_else(|error| panic!("{error}"))
    }

    /// A plain board to which the guest, memory and all, has moved.
    pub fn successor_of(old: &Self) -> Self {
        let (memory, heap) = (old.memory.clone(), old.heap.clone());
        Self::build(Options::default(), memory, heap).expect("a plain board")
    }

    pub fn try_with(options: Options) -> Result<Self, Error> {
        Self::build(options, memory(), Heap::new(0x1000, BOUNDARY))
    }

    fn build(options: Options, memory: Space, heap: Heap) -> Result<Self, Error> {
        let (sink, wire, bells) = (Arc::default(), Arc::default(), Arc::default());
        let (runner, worn) = (InlineRunner::new(), options.toy.worn());
        let slot = PciSlot {
            place: options.place,
            msi: Arc::clone(&sink) as _,
            intx: Some(Arc::clone(&wire) as _),
            ioeventfds: Some(Arc::clone(&bells) as _),
            reset_waits: false,
        };
        let parts = PciParts {
            device: Box::new(options.toy),
            runner: options.runner.unwrap_or_else(|| Arc::new(runner.clone())),
            memory: memory.clone(),
            features: options.virtio.features(),
        };
        Ok(Self {
            transport: Arc::new(PciTransport::new(slot, &options.props, parts)?),
            memory,
            heap,
            runner,
            sink,
            wire,
            bells,
            worn,
        })
    }

    pub fn read(&self, bar: u8, offset: u64, width: usize) -> u64 {
        let mut data = [0; 8];
        self.transport.read_bar(bar, offset, &mut data[..width]);
        u64::from_le_bytes(data)
    }

    pub fn write(&self, bar: u8, offset: u64, width: usize, value: u64) {
        let data = value.to_le_bytes();
        self.transport.write_bar(bar, offset, &data[..width]);
    }

    pub fn config(&self) -> Vec<u8> {
        let mut data = vec![0; 0x100];
        self.transport.read_config(0, &mut data);
        data
    }

    /// Enables MSI-X and gives vector `n` the message data `0x100 + n`.
    pub fn enable_msix(&self) {
        let at = u16::from(self.config()[0x34]);
        for vector in 0..self.transport.info().vectors.into() {
            self.write(1, 16 * vector, 8, 0xfee0_0000);
            self.write(1, 16 * vector + 8, 8, 0x100 + vector);
        }
        let _ = self.transport.write_config(at + 2, &[0, 0x80]);
    }

    pub fn disable_msix(&self) {
        let at = u16::from(self.config()[0x34]);
        let _ = self.transport.write_config(at + 2, &[0, 0]);
    }

    /// Points PCI_CFG at `length` bytes.
    pub fn aim(&self, bar: u8, offset: u32, length: u32) {
        let registers = [offset.to_le_bytes(), length.to_le_bytes()].concat();
        let _ = self.transport.write_config(WINDOW + 4, &[bar]);
        let _ = self.transport.write_config(WINDOW + 8, &registers);
    }

    /// Reads `width` bytes through PCI_CFG.
    pub fn look(&self, width: usize) -> u32 {
        let mut data = [0; 4];
        self.transport.read_config(WINDOW + 16, &mut data[..width]);
        u32::from_le_bytes(data)
    }

    pub fn common(&self, (offset, width): Reg) -> u64 {
        self.read(4, offset, width)
    }

    pub fn set_common(&self, (offset, width): Reg, value: u64) {
        self.write(4, offset, width, value);
    }

    pub fn status(&self) -> u64 {
        self.common(STATUS)
    }

    pub fn offered(&self) -> Features {
        let page = |page| {
            self.set_common(DEVICE_FEATURE_SELECT, page);
            self.common(DEVICE_FEATURE)
        };
        (0..4).fold(Features::NONE, |features, n| {
            features.with_page(n, page(n.into()) as u32)
        })
    }

    pub fn accept(&self, features: Features) {
        for page in 0..4 {
            self.set_common(DRIVER_FEATURE_SELECT, page.into());
            self.set_common(DRIVER_FEATURE, features.page(page).into());
        }
    }

    /// Up to FEATURES_OK.
    pub fn negotiate(&self, features: Features) {
        self.set_common(STATUS, 0);
        self.set_common(STATUS, 1);
        self.set_common(STATUS, 3);
        self.accept(features);
        self.set_common(STATUS, 11);
    }

    /// Programs and enables a queue, with vector `1 + queue`.
    pub fn set_up_queue(&self, queue: u16, features: Features) -> DriverQueue<Space> {
        self.set_common(QUEUE_SELECT, queue.into());
        let size = self.common(QUEUE_SIZE) as u16;
        let driver = DriverQueue::new(self.memory.clone(), self.heap.clone(), size, features);
        let config = *driver.config();
        self.set_common(QUEUE_MSIX_VECTOR, u64::from(queue) + 1);
        for (offset, address) in [
            (0x20, config.descriptor),
            (0x28, config.driver),
            (0x30, config.device),
        ] {
            self.write(4, offset, 4, address);
            self.write(4, offset + 4, 4, address >> 32);
        }
        self.set_common(QUEUE_ENABLE, 1);
        driver
    }

    /// A running device with `features`, and all of its queues.
    pub fn start(&self, features: Features) -> Vec<DriverQueue<Space>> {
        self.negotiate(features);
        assert_eq!(self.status(), 11, "{features:?}");
        self.set_common(CONFIG_MSIX_VECTOR, 0);
        let queues = 0..self.common(NUM_QUEUES) as u16;
        let queues = queues
            .map(|queue| self.set_up_queue(queue, features))
            .collect();
        self.set_common(STATUS, 15);
        assert_eq!(self.status(), 15);
        // What comes after the start is by notification.
        self.runner.run();
        queues
    }

    /// A legacy driver's start, with all queues.
    pub fn start_legacy(&self, features: Features) -> Vec<DriverQueue<Space>> {
        self.write(0, 0x12, 1, 0);
        self.write(0, 0x12, 1, 1);
        self.write(0, 0x12, 1, 3);
        self.write(0, 0x04, 4, features.page(0).into());
        let queues = (0..self.worn.queues).map(|queue| self.set_up_legacy(queue, features));
        let queues = queues.collect();
        self.write(0, 0x12, 1, 7);
        assert_eq!(self.read(0, 0x12, 1), 7);
        self.runner.run();
        queues
    }

    pub fn set_up_legacy(&self, queue: u16, features: Features) -> DriverQueue<Space> {
        self.write(0, 0x0e, 2, queue.into());
        let size = self.read(0, 0x0c, 2) as u16;
        let at = self.heap.alloc(0x2000, 0x1000);
        let driver = DriverQueue::new(self.memory.clone(), legacy_heap(at, size), size, features);
        self.write(0, 0x08, 4, at >> 12);
        driver
    }

    /// Offers the device a buffer of 16 bytes to write to.
    pub fn offer(&self, queue: &mut DriverQueue<Space>) {
        let segment = Segment {
            address: self.heap.alloc(16, 1),
            len: 16,
            writable: true,
        };
        queue.add(&[segment]).expect("room");
        queue.publish();
    }

    /// The driver's doorbell, then the workers' turn.
    pub fn notify(&self, queue: u16) {
        self.write(4, 0x3000 + 4 * u64::from(queue), 2, queue.into());
        self.runner.run();
    }

    pub fn notify_legacy(&self, queue: u16) {
        self.write(0, 0x10, 2, queue.into());
        self.runner.run();
    }
}

/// Room for the areas of a legacy ring and for nothing else: they follow one another, the used ring
/// on a page of its own.
fn legacy_heap(at: u64, size: u16) -> Heap {
    let heap = Heap::new(at, at + 0x2000);
    heap.alloc(0x2000, 1);
    heap.free(at, 18 * u64::from(size) + 6);
    heap.free(at + 0x1000, 0x1000);
    heap
}

/// Offset and width of a register.
pub type Reg = (u64, usize);
pub const DEVICE_FEATURE_SELECT: Reg = (0x00, 4);
pub const DEVICE_FEATURE: Reg = (0x04, 4);
pub const DRIVER_FEATURE_SELECT: Reg = (0x08, 4);
pub const DRIVER_FEATURE: Reg = (0x0c, 4);
pub const CONFIG_MSIX_VECTOR: Reg = (0x10, 2);
pub const NUM_QUEUES: Reg = (0x12, 2);
pub const STATUS: Reg = (0x14, 1);
pub const CONFIG_GENERATION: Reg = (0x15, 1);
pub const QUEUE_SELECT: Reg = (0x16, 2);
pub const QUEUE_SIZE: Reg = (0x18, 2);
pub const QUEUE_MSIX_VECTOR: Reg = (0x1a, 2);
pub const QUEUE_ENABLE: Reg = (0x1c, 2);
pub const QUEUE_NOTIFY_OFF: Reg = (0x1e, 2);
pub const QUEUE_DESC: Reg = (0x20, 8);
pub const QUEUE_RESET: Reg = (0x3a, 2);
/// PCI_CFG of the plain board.
pub const WINDOW: u16 = 0x84;
pub const NO_VECTOR: u64 = 0xffff;
pub const ISR: (u8, u64) = (4, 0x1000);
pub const DEVICE: u64 = 0x2000;
