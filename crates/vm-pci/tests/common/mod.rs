//! A function, an interrupt sink and a wire that write down what happens to them.
#![allow(dead_code, unreachable_pub, missing_docs)]

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use vm_pci::{
    Bar, BarMap, Bdf, ConfigSize, Effects, ExpressType, FunctionCore, FunctionInfo, HostBridge,
    Identity, InterruptPin, IoAddr, IrqPin, MsiMessage, MsiSink, MsiVector, MsixLayout,
    PciFunction, RootComplex, Slot, Windows,
};
use vmm_sys_util::eventfd::EventFd;

pub const TOY: Identity = Identity {
    vendor: 0x1234,
    device: 0x5678,
    revision: 1,
    class: 0xff0000,
    subsystem_vendor: 0x1111,
    subsystem: 0x2222,
};

/// BAR0 I/O 32 bytes, BAR1 memory 4 KiB with MSI-X, BAR4 64-bit prefetchable 16 KiB.
pub struct Toy {
    pub core: FunctionCore,
    /// BAR, offset and length of every access that arrived.
    pub accesses: Mutex<Vec<(u8, u64, usize)>>,
    pub mapped: Mutex<Vec<(u8, Option<IoAddr>)>>,
    pub resets: AtomicUsize,
}

pub const MSIX_AT: u16 = 0x98;
pub const POWER_AT: u16 = 0x7c;
pub const EXPRESS_AT: u16 = 0x40;
pub const VECTORS: u16 = 4;

impl Toy {
    pub fn new() -> Arc<Self> {
        Self::with(Sink::new(), Wire::new())
    }

    pub fn with(sink: Arc<Sink>, wire: Arc<Wire>) -> Arc<Self> {
        let layout = MsixLayout {
            bar: 1,
            vectors: VECTORS,
            table: 0,
            pending: 0x800,
        };
        let core = FunctionCore::builder(TOY)
            .config_size(ConfigSize::Express)
            .bar(0, Bar::io(32).unwrap())
            .bar(1, Bar::memory32(0x1000).unwrap())
            .bar(4, Bar::memory64(0x4000).unwrap().prefetchable())
            .msix(MSIX_AT as u8, layout, sink)
            .power_management(POWER_AT as u8, false)
            .express(EXPRESS_AT as u8, ExpressType::Endpoint)
            .intx(InterruptPin::A, wire)
            .build()
            .unwrap();
        Arc::new(Self {
            core,
            accesses: Mutex::default(),
            mapped: Mutex::default(),
            resets: AtomicUsize::new(0),
        })
    }

    pub fn take_accesses(&self) -> Vec<(u8, u64, usize)> {
        std::mem::take(&mut self.accesses.lock().unwrap())
    }

    pub fn take_mapped(&self) -> Vec<(u8, Option<IoAddr>)> {
        std::mem::take(&mut self.mapped.lock().unwrap())
    }

    fn saw(&self, bar: u8, offset: u64, length: usize) {
        let size = self
            .info()
            .bars
            .at(bar)
            .expect("an access to a BAR that is not there")
            .size();
        assert!(
            offset + length as u64 <= size,
            "BAR{bar} of {size:#x}: {offset:#x}+{length}"
        );
        self.accesses.lock().unwrap().push((bar, offset, length));
    }
}

impl PciFunction for Toy {
    fn info(&self) -> FunctionInfo {
        self.core.info()
    }

    fn read_config(&self, offset: u16, data: &mut [u8]) {
        self.core.read_config(offset, data);
    }

    fn write_config(&self, offset: u16, data: &[u8]) -> Effects {
        self.core.write_config(offset, data)
    }

    fn decode(&self) -> BarMap {
        self.core.decode()
    }

    fn read_bar(&self, bar: u8, offset: u64, data: &mut [u8]) {
        self.saw(bar, offset, data.len());
        match bar {
            1 => self.core.msix().unwrap().read_bar(offset, data),
            _ => data.fill(0x10 + bar),
        }
    }

    fn write_bar(&self, bar: u8, offset: u64, data: &[u8]) {
        self.saw(bar, offset, data.len());
        if bar == 1 {
            self.core.msix().unwrap().write_bar(offset, data);
        }
    }

    fn bar_mapped(&self, bar: u8, at: Option<IoAddr>) {
        self.mapped.lock().unwrap().push((bar, at));
    }

    fn reset(&self) {
        self.resets.fetch_add(1, Ordering::Relaxed);
        self.core.reset();
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    Program(usize, Option<MsiMessage>),
    Fire(usize),
}

#[derive(Default)]
pub struct Sink {
    pub events: Arc<Mutex<Vec<Event>>>,
    pub made: AtomicUsize,
    pub refuse: AtomicBool,
}

impl Sink {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    pub fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.events.lock().unwrap())
    }
}

impl MsiSink for Sink {
    fn vector(&self) -> io::Result<Arc<dyn MsiVector>> {
        if self.refuse.load(Ordering::Relaxed) {
            return Err(io::Error::other("no routes left"));
        }
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let event = EventFd::new(0)?;
        Ok(Arc::new(Vector {
            number,
            events: Arc::clone(&self.events),
            event,
        }))
    }
}

struct Vector {
    number: usize,
    events: Arc<Mutex<Vec<Event>>>,
    event: EventFd,
}

impl MsiVector for Vector {
    fn program(&self, message: Option<MsiMessage>) -> io::Result<()> {
        self.events
            .lock()
            .unwrap()
            .push(Event::Program(self.number, message));
        Ok(())
    }

    fn fire(&self) -> io::Result<()> {
        self.events.lock().unwrap().push(Event::Fire(self.number));
        Ok(())
    }

    fn irqfd(&self) -> Option<&EventFd> {
        Some(&self.event)
    }
}

#[derive(Default)]
pub struct Wire {
    pub levels: Mutex<Vec<bool>>,
}

impl Wire {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    pub fn take(&self) -> Vec<bool> {
        std::mem::take(&mut self.levels.lock().unwrap())
    }
}

impl IrqPin for Wire {
    fn set(&self, level: bool) {
        self.levels.lock().unwrap().push(level);
    }
}

pub const MMIO32: std::ops::RangeInclusive<u64> = 0xc000_0000..=0xdfff_ffff;
pub const MMIO64: std::ops::RangeInclusive<u64> = 0x80_0000_0000..=0x8f_ffff_ffff;

pub fn complex() -> Arc<RootComplex> {
    complex_with(|root| root)
}

pub fn complex_with(more: impl FnOnce(RootComplex) -> RootComplex) -> Arc<RootComplex> {
    let windows = Windows {
        pio: Some(0xc000..=0xffff),
        mmio32: Some(MMIO32),
        mmio64: Some(MMIO64),
    };
    let bridge = Arc::new(HostBridge::new(HostBridge::Q35).unwrap());
    Arc::new(more(RootComplex::new(windows, bridge).unwrap()))
}

pub const fn at(bus: u8, device: u8, function: u8) -> Bdf {
    Bdf::new(bus, Slot::new(device, function))
}

pub fn read32(root: &RootComplex, bdf: Bdf, offset: u16) -> u32 {
    let mut data = [0; 4];
    root.read_config(bdf, offset, &mut data);
    u32::from_le_bytes(data)
}

pub fn write32(root: &RootComplex, bdf: Bdf, offset: u16, value: u32) {
    root.write_config(bdf, offset, &value.to_le_bytes());
}

pub fn write16(root: &RootComplex, bdf: Bdf, offset: u16, value: u16) {
    root.write_config(bdf, offset, &value.to_le_bytes());
}
