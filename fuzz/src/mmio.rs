//! The registers of the MMIO transport.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arbitrary::{Arbitrary, Unstructured};
use testkit::{DriverQueue, Space};
use virtio_device::{Features, RingConfig};
use virtio_mmio::vm_device::DeviceMmio;
use virtio_mmio::vm_device::bus::MmioAddress;
use virtio_mmio::{MmioParts, MmioProps, MmioSlot, MmioTransport};

use crate::forge::{Buffer, Few, Place, scribble, segments, steps};
use crate::front::{Front, Ground, Kind, offer};

/// A device on MMIO, of either version, whose guest accesses anything at any time.
pub fn mmio(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let Ok((kind, legacy)) = u.arbitrary() else {
        return;
    };
    let board = Board::new(Ground::new(), kind, legacy);
    let mut queues = Vec::new();
    for step in steps::<Step>(&mut u) {
        board.step(step, &mut queues);
    }
    board.mend();
}

#[derive(Arbitrary, Debug)]
enum Step {
    Read(Register, u8),
    Write(Register, Value, u8),
    Boot(u64),
    Offer(u8, Few<Buffer>),
    Scribble(Place, [u8; 8]),
    Run,
    Pause,
    Resume,
    Reset,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Register {
    Word(u8),
    Any(u64),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Value {
    Small(u8),
    Page(u8),
    Any(u64),
}

impl Register {
    fn offset(self) -> u64 {
        match self {
            Self::Word(word) => 4 * u64::from(word & 0x4f),
            Self::Any(offset) => offset,
        }
    }
}

impl Value {
    fn number(self) -> u64 {
        match self {
            Self::Small(value) => u64::from(value) & 0x1f,
            Self::Page(page) => u64::from(page) << 12,
            Self::Any(value) => value,
        }
    }
}

pub(crate) struct Board {
    pub(crate) ground: Ground,
    pub(crate) transport: MmioTransport<Space>,
    kind: Kind,
    legacy: bool,
    line: Arc<AtomicBool>,
}

impl Board {
    pub(crate) fn new(ground: Ground, kind: Kind, legacy: bool) -> Self {
        let line = Arc::new(AtomicBool::new(false));
        let level = line.clone();
        let slot = MmioSlot::new(BASE.0, move |high| {
            level.store(high, Ordering::SeqCst);
            Ok(())
        });
        let parts = MmioParts {
            device: kind.device(),
            runner: ground.runner(),
            memory: ground.space.clone(),
            features: Ground::features(),
        };
        let props = MmioProps::default().force_legacy(legacy);
        let transport = MmioTransport::new(slot, &props, parts).expect("a transport");
        Self {
            ground,
            transport,
            kind,
            legacy,
            line,
        }
    }

    fn step(&self, step: Step, queues: &mut Vec<DriverQueue<Space>>) {
        match step {
            Step::Read(register, width) => {
                let mut data = [0; 9];
                let width = usize::from(width) % data.len();
                self.transport
                    .mmio_read(BASE, register.offset(), &mut data[..width]);
            }
            Step::Write(register, value, width) => {
                let data = value.number().to_le_bytes();
                let width = if width < 0xc0 {
                    4
                } else {
                    usize::from(width) % 9
                };
                self.transport
                    .mmio_write(BASE, register.offset(), &data[..width]);
            }
            Step::Boot(features) if !self.legacy => {
                let features = Features::from_bits(features.into());
                *queues = self.ground.boot(self, features).unwrap_or_default();
            }
            Step::Offer(queue, buffers) => offer(self, queues, queue, &segments(&buffers)),
            Step::Scribble(place, bytes) => scribble(&self.ground.ram(), place.address(), &bytes),
            Step::Run | Step::Boot(_) => self.ground.settle(),
            Step::Pause => self.transport.pause(),
            Step::Resume => self.transport.resume(),
            Step::Reset => self.transport.reset(),
        }
        let pending = self.word(INTERRUPT_STATUS) != 0;
        assert_eq!(
            self.line.load(Ordering::SeqCst),
            pending,
            "the line follows the status"
        );
    }

    /// Whatever was done to it, a reset mends it.
    pub(crate) fn mend(&self) {
        self.transport.reset();
        assert!(!self.line.load(Ordering::SeqCst));
        assert_eq!(self.status(), 0);
        if !self.legacy {
            self.ground.probe(self, self.kind.request());
        }
    }

    fn word(&self, register: u64) -> u32 {
        let mut data = [0; 4];
        self.transport.mmio_read(BASE, register, &mut data);
        u32::from_le_bytes(data)
    }

    fn set_word(&self, register: u64, value: u32) {
        self.transport
            .mmio_write(BASE, register, &value.to_le_bytes());
    }
}

impl Front for Board {
    fn status(&self) -> u8 {
        self.word(STATUS) as u8
    }

    fn set_status(&self, status: u8) {
        self.set_word(STATUS, status.into());
    }

    fn offered(&self, page: u32) -> u32 {
        self.set_word(DEVICE_FEATURES_SEL, page);
        self.word(DEVICE_FEATURES)
    }

    fn accept(&self, page: u32, features: u32) {
        self.set_word(DRIVER_FEATURES_SEL, page);
        self.set_word(DRIVER_FEATURES, features);
    }

    fn queue_size(&self, queue: u16) -> u16 {
        self.set_word(QUEUE_SEL, queue.into());
        self.word(QUEUE_SIZE_MAX) as u16
    }

    fn set_up(&self, queue: u16, config: &RingConfig) {
        self.set_word(QUEUE_SEL, queue.into());
        self.set_word(QUEUE_SIZE, config.size.get().into());
        let areas = [
            (0x80, config.descriptor),
            (0x90, config.driver),
            (0xa0, config.device),
        ];
        for (register, address) in areas {
            self.set_word(register, address as u32);
            self.set_word(register + 4, (address >> 32) as u32);
        }
        self.set_word(QUEUE_READY, 1);
    }

    fn notify(&self, queue: u16) {
        self.set_word(QUEUE_NOTIFY, queue.into());
    }
}

const BASE: MmioAddress = MmioAddress(0xd000_0000);
const DEVICE_FEATURES: u64 = 0x010;
const DEVICE_FEATURES_SEL: u64 = 0x014;
const DRIVER_FEATURES: u64 = 0x020;
const DRIVER_FEATURES_SEL: u64 = 0x024;
const QUEUE_SEL: u64 = 0x030;
const QUEUE_SIZE_MAX: u64 = 0x034;
const QUEUE_SIZE: u64 = 0x038;
const QUEUE_READY: u64 = 0x044;
const QUEUE_NOTIFY: u64 = 0x050;
const INTERRUPT_STATUS: u64 = 0x060;
const STATUS: u64 = 0x070;
