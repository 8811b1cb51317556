//! The two ways to configuration space: ports 0xcf8 to 0xcff (PCI Local Bus 3.0, section 3.2.2.3.2)
//! and memory-mapped (PCI Express Base 5.0, section 7.2.2).

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use vm_device::bus::{MmioAddress, MmioAddressOffset, PioAddress, PioAddressOffset};
use vm_device::{DeviceMmio, DevicePio};

use crate::address::{Bdf, Slot};
use crate::root::RootComplex;

/// Configuration mechanism #1: an address register at 0xcf8 and a data window at 0xcfc, which takes
/// bytes and words in any lane.
///
/// The two low bits of the address, which the specification reserves, count as well: there are
/// programs that name a byte or word by them and access 0xcfc itself.
///
/// Only an access of four bytes reaches the address register. Byte 0xcf9 between them is the reset
/// control register of PCs; as no other device can be registered inside this range, it is offered here.
pub struct ConfigPorts {
    root: Arc<RootComplex>,
    address: AtomicU32,
    reset: Option<Box<dyn Fn() + Send + Sync>>,
}

impl ConfigPorts {
    /// First port.
    pub const BASE: u16 = 0xcf8;
    /// Number of ports.
    pub const SIZE: u16 = 8;

    /// Ports without reset control.
    pub fn new(root: Arc<RootComplex>) -> Self {
        Self {
            root,
            address: AtomicU32::new(0),
            reset: None,
        }
    }

    /// Ports that call `reset` when the guest asks for a reset through 0xcf9.
    pub fn with_reset(root: Arc<RootComplex>, reset: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            reset: Some(Box::new(reset)),
            ..Self::new(root)
        }
    }

    /// Function and offset that an access of `length` bytes at port `offset` goes to.
    fn target(&self, offset: u16, length: usize) -> Option<(Bdf, u16)> {
        let address = self.address.load(Ordering::Acquire);
        let lane = offset.checked_sub(DATA)?;
        let inside = usize::from(lane).checked_add(length)? <= 4;
        (inside && address & ENABLE != 0).then(|| {
            // Bits 23:8 are the requester identifier, bits 7:0 the register.
            let bdf = Bdf::from_requester_id((address >> 8) as u16);
            (bdf, (address & 0xff) as u16 | lane)
        })
    }
}

impl DevicePio for ConfigPorts {
    fn pio_read(&self, _base: PioAddress, offset: PioAddressOffset, data: &mut [u8]) {
        if offset == 0 && data.len() == 4 {
            data.copy_from_slice(&self.address.load(Ordering::Acquire).to_le_bytes());
        } else if let Some((at, register)) = self.target(offset, data.len()) {
            self.root.read_config(at, register, data);
        } else {
            data.fill(if offset == RESET_CONTROL { 0 } else { 0xff });
        }
    }

    fn pio_write(&self, _base: PioAddress, offset: PioAddressOffset, data: &[u8]) {
        match (offset, data) {
            (0, &[a, b, c, d]) => {
                let address = u32::from_le_bytes([a, b, c, d]) & ADDRESS_WRITABLE;
                self.address.store(address, Ordering::Release);
            }
            (RESET_CONTROL, &[control]) if control & RESET_CPU != 0 => {
                self.reset.iter().for_each(|reset| reset());
            }
            _ => {
                if let Some((at, register)) = self.target(offset, data.len()) {
                    self.root.write_config(at, register, data);
                }
            }
        }
    }
}

/// Memory-mapped configuration space: 4 KiB for each function, from bus 0 on.
pub struct Ecam {
    root: Arc<RootComplex>,
}

impl Ecam {
    /// Each bus takes 2^20 bytes.
    pub const BUS_SHIFT: u32 = 20;

    /// Configuration space of all buses; the registered range bounds how many there are.
    pub fn new(root: Arc<RootComplex>) -> Self {
        Self { root }
    }
}

impl DeviceMmio for Ecam {
    fn mmio_read(&self, _base: MmioAddress, offset: MmioAddressOffset, data: &mut [u8]) {
        match ecam_target(offset, data.len()) {
            Some((at, register)) => self.root.read_config(at, register, data),
            None => data.fill(0xff),
        }
    }

    fn mmio_write(&self, _base: MmioAddress, offset: MmioAddressOffset, data: &[u8]) {
        if let Some((at, register)) = ecam_target(offset, data.len()) {
            self.root.write_config(at, register, data);
        }
    }
}

/// Nothing for an access that leaves the 4 KiB of its function, or goes past bus 255.
fn ecam_target(offset: u64, length: usize) -> Option<(Bdf, u16)> {
    let register = (offset & 0xfff) as u16;
    let bus = u8::try_from(offset >> Ecam::BUS_SHIFT).ok()?;
    let slot = Slot::new((offset >> 15) as u8, (offset >> 12) as u8);
    let inside = usize::from(register).checked_add(length)? <= 0x1000;
    inside.then_some((Bdf::new(bus, slot), register))
}

const DATA: u16 = 4;
const ENABLE: u32 = 1 << 31;
/// Enable, bus, device, function, register: all but the reserved bits.
const ADDRESS_WRITABLE: u32 = 0x80ff_ffff;
const RESET_CONTROL: u16 = 1;
const RESET_CPU: u8 = 1 << 2;
