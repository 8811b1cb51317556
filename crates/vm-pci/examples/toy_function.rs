//! A PCI function with one memory BAR, put on an `IoManager` and used as a guest would.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use vm_device::bus::MmioAddress;
use vm_device::device_manager::{IoManager, MmioManager};
use vm_pci::*;

/// Sixteen bytes that all show the byte written last.
struct Echo {
    core: FunctionCore,
    last: AtomicU8,
}

impl PciFunction for Echo {
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
    fn read_bar(&self, _bar: u8, _offset: u64, data: &mut [u8]) {
        data.fill(self.last.load(Ordering::Relaxed));
    }
    fn write_bar(&self, _bar: u8, _offset: u64, data: &[u8]) {
        data.last()
            .iter()
            .for_each(|byte| self.last.store(**byte, Ordering::Relaxed));
    }
    fn bar_mapped(&self, bar: u8, at: Option<IoAddr>) {
        println!("BAR{bar} is now at {at:x?}");
    }
    fn reset(&self) {
        self.core.reset();
        self.last.store(0, Ordering::Relaxed);
    }
}

const ECAM: u64 = 0xe000_0000;

fn main() -> Result<(), Box<dyn Error>> {
    let identity = Identity {
        vendor: 0x1234,
        device: 1,
        class: 0xff0000,
        ..Identity::default()
    };
    let core = FunctionCore::builder(identity)
        .bar(0, Bar::memory32(16)?)
        .build()?;
    let windows = Windows {
        mmio32: Some(0xc000_0000..=0xdfff_ffff),
        ..Windows::default()
    };
    let bridge = Arc::new(HostBridge::new(HostBridge::Q35)?);
    let root = Arc::new(RootComplex::new(windows, bridge)?);
    let echo = Arc::new(Echo {
        core,
        last: AtomicU8::new(0),
    });
    root.attach(BusId::ROOT, Slot::new(1, 0), echo)?;
    root.assign_bars()?;
    let mut io = IoManager::new();
    root.register(&mut io, Some((ECAM, 1)))?;

    // From here on as the guest: find the BAR, enable memory space, use it.
    let config = ECAM + (1 << 15);
    let mut bar = [0; 4];
    io.mmio_read(MmioAddress(config + 0x10), &mut bar)?;
    io.mmio_write(MmioAddress(config + 0x04), &[0x02, 0x00])?;
    let bar = MmioAddress(u32::from_le_bytes(bar).into());
    io.mmio_write(bar, &[42])?;
    let mut answer = [0; 2];
    io.mmio_read(bar, &mut answer)?;
    assert_eq!(answer, [42, 42]);
    println!("wrote 42 to {:#x}, read {answer:?}", bar.0);
    Ok(())
}
