//! Two functions in a PCI hierarchy: configuration space, BARs, doorbells, interrupts.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use arbitrary::{Arbitrary, Unstructured};
use testkit::{DriverQueue, Space};
use virtio_device::vmm_sys_util::eventfd::EventFd;
use virtio_device::{Features, RingConfig};
use virtio_mmio::vm_device::bus::{MmioAddress, PioAddress};
use virtio_mmio::vm_device::{DeviceMmio, DevicePio};
use virtio_pci::virtio_bus::{Doorbell, IoEventFds};
use virtio_pci::{PciParts, PciProps, PciSlot, PciTransport, Place};
use vm_pci::{
    Bdf, BusId, ConfigPorts, HostBridge, InterruptPin, IoAddr, IrqPin, MsiMessage, MsiSink,
    MsiVector, PciFunction, RootComplex, RootPort, RootPortConfig, Slot, Windows,
};

use crate::forge::{self, Buffer, Few, segments, steps};
use crate::front::{Front, Ground, Kind, offer};

/// A transitional block device on the root bus and a modern entropy device behind a root port, where
/// it comes and goes. The guest accesses anything at any time.
pub fn pci(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let look = u.arbitrary().unwrap_or_default();
    let machine = Machine::new(look);
    let mut queues = [Vec::new(), Vec::new()];
    for step in steps::<Step>(&mut u) {
        machine.step(step, &mut queues);
    }
    machine.mend();
}

#[derive(Arbitrary, Debug)]
enum Step {
    ReadConfig(At, Register, u8),
    WriteConfig(At, Register, Value, u8),
    Port(u8, Value, u8),
    ReadBar(bool, u8, Offset, u8),
    WriteBar(bool, u8, Offset, Value, u8),
    /// Past the function's own idea of where its BARs are.
    Memory(u64, Value, u8),
    Pio(u16, Value, u8),
    Boot(bool, u64),
    Offer(bool, u8, Few<Buffer>),
    Scribble(forge::Place, [u8; 8]),
    Run,
    Pause(bool),
    Resume(bool),
    /// A machine's reset, and its firmware.
    Reset,
    /// The device behind the port is to leave.
    Button,
    /// It comes back.
    Plug,
    /// It goes without a word.
    TearOut,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum At {
    There(u8),
    Anywhere(u16),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Register {
    Header(u8),
    Capability(u8),
    Any(u16),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Offset {
    Start(u8),
    Structure(u8, u8),
    Any(u64),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Value {
    Small(u8),
    Page(u8),
    Ones,
    Any(u64),
}

impl At {
    fn bdf(self) -> Bdf {
        match self {
            Self::There(which) => PLACES[usize::from(which) % PLACES.len()],
            Self::Anywhere(id) => Bdf::from_requester_id(id),
        }
    }
}

impl Register {
    fn offset(self) -> u16 {
        match self {
            Self::Header(offset) => u16::from(offset) & 0x3f,
            Self::Capability(offset) => 0x40 + u16::from(offset) % 0xc0,
            Self::Any(offset) => offset,
        }
    }
}

impl Offset {
    fn bytes(self) -> u64 {
        match self {
            Self::Start(offset) => u64::from(offset) & 0x3f,
            Self::Structure(page, offset) => u64::from(page & 3) << 12 | u64::from(offset),
            Self::Any(offset) => offset,
        }
    }
}

impl Value {
    fn number(self) -> u64 {
        match self {
            Self::Small(value) => u64::from(value) & 0x1f,
            Self::Page(page) => u64::from(page) << 12,
            Self::Ones => u64::MAX,
            Self::Any(value) => value,
        }
    }

    fn bytes(self, width: u8) -> Vec<u8> {
        let mut bytes = self.number().to_le_bytes().to_vec();
        bytes.truncate(usize::from(width) % 9);
        bytes
    }
}

/// What the functions look like.
#[derive(Arbitrary, Clone, Copy, Debug, Default)]
pub(crate) struct Look {
    page_per_vq: bool,
    pio_notify: bool,
    few_vectors: bool,
}

struct Machine {
    ground: Ground,
    root: Arc<RootComplex>,
    ports: ConfigPorts,
    port: Arc<RootPort>,
    /// Behind the port.
    bus: BusId,
    boards: [Board; 2],
}

/// A function and what it is wired to.
pub(crate) struct Board {
    pub(crate) transport: Arc<PciTransport<Space>>,
    kind: Kind,
}

impl Board {
    pub(crate) fn new(ground: &Ground, kind: Kind, look: Look) -> Self {
        let place = match kind {
            Kind::Blk => Place::RootBus,
            Kind::Rng => Place::RootPort,
        };
        let slot = PciSlot {
            place,
            msi: Arc::new(Sink),
            intx: Some(Arc::new(Wire)),
            ioeventfds: Some(Arc::new(Bells::default())),
            reset_waits: false,
        };
        let parts = PciParts {
            device: kind.device(),
            runner: ground.runner(),
            memory: ground.space.clone(),
            features: Ground::features(),
        };
        let props = PciProps::default()
            .page_per_vq(look.page_per_vq)
            .modern_pio_notify(look.pio_notify)
            .vectors(look.few_vectors.then_some(1));
        let transport = PciTransport::new(slot, &props, parts).expect("a function");
        Self {
            transport: Arc::new(transport),
            kind,
        }
    }

    /// Whatever was done to it, a reset has mended it.
    pub(crate) fn probe(&self, ground: &Ground) {
        assert_eq!(self.status(), 0);
        ground.probe(self, self.kind.request());
    }

    fn read(&self, offset: u64, width: usize) -> u32 {
        let mut data = [0; 4];
        self.transport.read_bar(4, offset, &mut data[..width]);
        u32::from_le_bytes(data)
    }

    fn write(&self, offset: u64, width: usize, value: u32) {
        self.transport
            .write_bar(4, offset, &value.to_le_bytes()[..width]);
    }
}

impl Machine {
    fn new(look: Look) -> Self {
        let ground = Ground::new();
        let bridge = Arc::new(HostBridge::new(HostBridge::Q35).expect("a bridge"));
        let windows = Windows {
            pio: Some(0xc000..=0xffff),
            mmio32: Some(0xc000_0000..=0xdfff_ffff),
            mmio64: Some(0x80_0000_0000..=0x8f_ffff_ffff),
        };
        let root = Arc::new(RootComplex::new(windows, bridge).expect("a root complex"));
        let config = RootPortConfig {
            hot_plug: true,
            msi: Some(Arc::new(Sink)),
            intx: Some((InterruptPin::A, Arc::new(Wire))),
            ..RootPortConfig::new(1)
        };
        let port = Arc::new(RootPort::new(config).expect("a port"));
        let boards = [Kind::Blk, Kind::Rng].map(|kind| Board::new(&ground, kind, look));
        let bus = root
            .attach_port(PLACES[1].slot(), Arc::clone(&port))
            .expect("a free slot");
        let disk = boards[0].transport.clone();
        root.attach(BusId::ROOT, PLACES[0].slot(), disk)
            .expect("a free slot");
        let ports = ConfigPorts::new(root.clone());
        let machine = Self {
            ground,
            root,
            ports,
            port,
            bus,
            boards,
        };
        machine.plug();
        machine.root.reset();
        machine.enable();
        machine
    }

    /// Puts the entropy device behind the port, where it may be already.
    fn plug(&self) {
        let function = self.boards[1].transport.clone();
        let _ = self.root.attach(self.bus, PLACES[2].slot(), function);
    }

    fn enable(&self) {
        self.root.assign_bars().expect("room");
        PLACES
            .iter()
            .for_each(|&at| self.root.write_config(at, 4, &[7, 0]));
    }

    fn step(&self, step: Step, queues: &mut [Vec<DriverQueue<Space>>; 2]) {
        match step {
            Step::ReadConfig(at, register, width) => {
                let mut data = vec![0; usize::from(width) % 9];
                self.root
                    .read_config(at.bdf(), register.offset(), &mut data);
            }
            Step::WriteConfig(at, register, value, width) => {
                self.root
                    .write_config(at.bdf(), register.offset(), &value.bytes(width));
            }
            Step::Port(offset, value, width) => {
                let (base, offset) = (PioAddress(0xcf8), u16::from(offset & 7));
                let mut data = value.bytes(width);
                self.ports.pio_write(base, offset, &data);
                self.ports.pio_read(base, offset, &mut data);
            }
            Step::Boot(which, features) => {
                let features = Features::from_bits(features.into());
                let which = usize::from(which);
                let booted = self.ground.boot(&self.boards[which], features);
                queues[which] = booted.unwrap_or_default();
            }
            Step::Offer(which, queue, buffers) => {
                let which = usize::from(which);
                offer(
                    &self.boards[which],
                    &mut queues[which],
                    queue,
                    &segments(&buffers),
                );
            }
            Step::Scribble(place, bytes) => {
                forge::scribble(&self.ground.ram(), place.address(), &bytes)
            }
            Step::Run => self.ground.settle(),
            Step::Pause(which) => self.boards[usize::from(which)].transport.pause(),
            Step::Resume(which) => self.boards[usize::from(which)].transport.resume(),
            Step::Reset => {
                self.root.reset();
                self.enable();
            }
            Step::Button => self.port.press_attention_button(),
            Step::Plug => self.plug(),
            Step::TearOut => drop(self.root.detach(self.bus, 0)),
            step => self.access(&step),
        }
    }

    fn access(&self, step: &Step) {
        match *step {
            Step::ReadBar(which, bar, offset, width) => {
                let mut data = vec![0; usize::from(width) % 9];
                if let Some(at) = self.bar(which, bar) {
                    self.read(at, offset.bytes(), &mut data);
                }
            }
            Step::WriteBar(which, bar, offset, value, width) => {
                if let Some(at) = self.bar(which, bar) {
                    self.write(at, offset.bytes(), &value.bytes(width));
                }
                // And past the routes, as vfio-user would.
                let transport = &self.boards[usize::from(which)].transport;
                transport.write_bar(bar, offset.bytes(), &value.bytes(width));
            }
            Step::Memory(address, value, width) => {
                self.write(IoAddr::Mmio(address), 0, &value.bytes(width));
            }
            Step::Pio(port, value, width) => {
                self.write(IoAddr::Pio(port), 0, &value.bytes(width));
            }
            _ => {}
        }
    }

    fn bar(&self, which: bool, bar: u8) -> Option<IoAddr> {
        let decode = self.boards[usize::from(which)].transport.decode();
        decode.at(bar % 6).map(|range| range.start())
    }

    fn read(&self, at: IoAddr, offset: u64, data: &mut [u8]) {
        match at {
            IoAddr::Mmio(at) => self
                .root
                .mmio_window()
                .mmio_read(MmioAddress(at), offset, data),
            IoAddr::Pio(at) => {
                self.root
                    .pio_window()
                    .pio_read(PioAddress(at), offset as u16, data);
            }
        }
    }

    fn write(&self, at: IoAddr, offset: u64, data: &[u8]) {
        match at {
            IoAddr::Mmio(at) => self
                .root
                .mmio_window()
                .mmio_write(MmioAddress(at), offset, data),
            IoAddr::Pio(at) => {
                self.root
                    .pio_window()
                    .pio_write(PioAddress(at), offset as u16, data);
            }
        }
    }

    fn mend(&self) {
        self.plug();
        self.root.reset();
        self.enable();
        for which in [false, true] {
            let board = &self.boards[usize::from(which)];
            let at = self
                .bar(which, 4)
                .expect("BAR4 is where firmware has put it");
            let mut seen = [0; 2];
            self.read(at, NUM_QUEUES, &mut seen);
            assert_eq!(
                u32::from(u16::from_le_bytes(seen)),
                board.read(NUM_QUEUES, 2)
            );
            board.probe(&self.ground);
        }
    }
}

impl Front for Board {
    fn status(&self) -> u8 {
        self.read(STATUS, 1) as u8
    }

    fn set_status(&self, status: u8) {
        self.write(STATUS, 1, status.into());
    }

    fn offered(&self, page: u32) -> u32 {
        self.write(0x00, 4, page);
        self.read(0x04, 4)
    }

    fn accept(&self, page: u32, features: u32) {
        self.write(0x08, 4, page);
        self.write(0x0c, 4, features);
    }

    fn queue_size(&self, queue: u16) -> u16 {
        self.write(QUEUE_SELECT, 2, queue.into());
        self.read(QUEUE_SIZE, 2) as u16
    }

    fn set_up(&self, queue: u16, config: &RingConfig) {
        self.write(QUEUE_SELECT, 2, queue.into());
        self.write(QUEUE_SIZE, 2, config.size.get().into());
        let areas = [
            (0x20, config.descriptor),
            (0x28, config.driver),
            (0x30, config.device),
        ];
        for (register, address) in areas {
            self.write(register, 4, address as u32);
            self.write(register + 4, 4, (address >> 32) as u32);
        }
        self.write(0x1c, 2, 1);
    }

    fn notify(&self, queue: u16) {
        let multiplier = match self.transport.info().bars.at(4).map_or(0, |bar| bar.size()) {
            0x4000 => 4,
            _ => 4096,
        };
        self.write(0x3000 + multiplier * u64::from(queue), 2, queue.into());
    }
}

struct Sink;

impl MsiSink for Sink {
    fn vector(&self) -> io::Result<Arc<dyn MsiVector>> {
        Ok(Arc::new(Sink))
    }
}

impl MsiVector for Sink {
    fn program(&self, _: Option<MsiMessage>) -> io::Result<()> {
        Ok(())
    }

    fn fire(&self) -> io::Result<()> {
        Ok(())
    }

    fn irqfd(&self) -> Option<&EventFd> {
        None
    }
}

struct Wire;

impl IrqPin for Wire {
    fn set(&self, _: bool) {}
}

/// Doorbells, each of which is assigned once and released once.
#[derive(Default)]
struct Bells(Mutex<BTreeSet<Doorbell>>);

impl IoEventFds for Bells {
    fn assign(&self, doorbell: Doorbell, _: &EventFd) -> io::Result<()> {
        let mut bells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(bells.insert(doorbell), "{doorbell:?} twice");
        Ok(())
    }

    fn release(&self, doorbell: Doorbell, _: &EventFd) -> io::Result<()> {
        let mut bells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(bells.remove(&doorbell), "{doorbell:?} was not there");
        Ok(())
    }
}

/// The block device, the root port, the entropy device.
const PLACES: [Bdf; 3] = [
    Bdf::new(0, Slot::new(1, 0)),
    Bdf::new(0, Slot::new(2, 0)),
    Bdf::new(1, Slot::new(0, 0)),
];
const NUM_QUEUES: u64 = 0x12;
const STATUS: u64 = 0x14;
const QUEUE_SELECT: u64 = 0x16;
const QUEUE_SIZE: u64 = 0x18;
