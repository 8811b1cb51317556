//! A PCI function, by configuration mechanism #1.

use super::Vmm;

/// The function 0 of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PciDevice {
    bus: u8,
    slot: u8,
}

/// A bus behind a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PciBus(u8);

impl PciBus {
    /// The device on it; `None` where there is nothing.
    pub fn first(self, vmm: &mut Vmm) -> Option<PciDevice> {
        PciDevice {
            bus: self.0,
            slot: 0,
        }
        .present(vmm)
    }
}

impl PciDevice {
    /// The one in `slot` of bus 0; `None` where there is nothing.
    pub fn find(vmm: &mut Vmm, slot: u8) -> Option<Self> {
        Self { bus: 0, slot }.present(vmm)
    }

    /// Opens a port: the bus behind it gets a number, and memory from `window` on, of so many bytes.
    pub fn open(self, vmm: &mut Vmm, number: u8, window: u32, bytes: u32) -> PciBus {
        self.write(
            vmm,
            BUSES,
            4,
            u32::from(number) << 8 | u32::from(number) << 16,
        );
        let memory = window >> 16 | (window + bytes - 1) & 0xfff0_0000;
        self.write(vmm, MEMORY_WINDOW, 4, memory);
        self.enable(vmm);
        PciBus(number)
    }

    fn present(self, vmm: &mut Vmm) -> Option<Self> {
        (self.read(vmm, 0, 2) != 0xffff).then_some(self)
    }

    /// Reads `width` bytes of configuration space.
    pub fn read(self, vmm: &mut Vmm, offset: u8, width: usize) -> u32 {
        self.select(vmm, offset);
        vmm.input(DATA, width)
    }

    /// Writes `width` bytes of configuration space.
    pub fn write(self, vmm: &mut Vmm, offset: u8, width: usize, value: u32) {
        self.select(vmm, offset);
        vmm.output(DATA, width, value);
    }

    /// Offsets of the capabilities called `id`, in the order of the list.
    pub fn capabilities(self, vmm: &mut Vmm, id: u8) -> Vec<u8> {
        let mut found = Vec::new();
        let mut at = self.read(vmm, CAPABILITIES, 1) as u8;
        for _ in 0..64 {
            if at == 0 {
                return found;
            }
            if self.read(vmm, at, 1) == u32::from(id) {
                found.push(at);
            }
            at = self.read(vmm, at + 1, 1) as u8;
        }
        panic!("the list of capabilities has no end");
    }

    /// Lets the function decode its BARs and write memory.
    pub fn enable(self, vmm: &mut Vmm) {
        self.write(vmm, COMMAND, 2, 7);
    }

    /// Places a BAR at `address`, whose size must allow it, and returns its size.
    pub fn map(self, vmm: &mut Vmm, bar: u8, address: u32) -> u32 {
        let register = BAR0 + 4 * bar;
        self.write(vmm, register, 4, u32::MAX);
        let mask = self.read(vmm, register, 4);
        let kind = if mask & 1 != 0 { 3 } else { 0xf };
        let size = (!(mask & !kind)).wrapping_add(1);
        assert!(
            size != 0 && address.is_multiple_of(size),
            "BAR {bar} of {size:#x} bytes"
        );
        self.write(vmm, register, 4, address);
        size
    }

    fn select(self, vmm: &mut Vmm, offset: u8) {
        let function = u32::from(self.bus) << 16 | u32::from(self.slot) << 11;
        let address = 1 << 31 | function | u32::from(offset);
        vmm.output(ADDRESS, 4, address);
    }
}

const ADDRESS: u16 = 0xcf8;
const DATA: u16 = 0xcfc;
const COMMAND: u8 = 4;
const BAR0: u8 = 0x10;
/// Registers of a port.
const BUSES: u8 = 0x18;
const MEMORY_WINDOW: u8 = 0x20;
const CAPABILITIES: u8 = 0x34;
