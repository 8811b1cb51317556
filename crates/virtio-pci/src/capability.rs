//! The virtio structure capabilities (section 4.1.4).

use vm_pci::{Capability, Register};

/// What a capability locates: its `cfg_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CfgType {
    Common = 1,
    Notify = 2,
    Isr = 3,
    Device = 4,
    Pci = 5,
}

/// A structure at `offset` of a BAR, `length` bytes.
pub(crate) fn structure(kind: CfgType, bar: u8, offset: u32, length: u32) -> Capability {
    Capability::new(VENDOR, LENGTH, &location(kind, LENGTH, bar, offset, length))
}

/// The notification structure: queue `n` has its doorbell at `n * multiplier` in it.
pub(crate) fn notify(bar: u8, offset: u32, length: u32, multiplier: u32) -> Capability {
    let mut registers = location(CfgType::Notify, LONG, bar, offset, length).to_vec();
    registers.push(Register::dword(0x10).value(multiplier));
    Capability::new(VENDOR, LONG, &registers)
}

/// The window from configuration space into any BAR (section 4.1.4.9).
pub(crate) fn pci_cfg() -> Capability {
    let registers = [
        Register::byte(0x02).value(LONG.into()),
        Register::byte(0x03).value(CfgType::Pci as u32),
        Register::byte(BAR).writable(0xff),
        Register::dword(OFFSET).writable(u32::MAX),
        Register::dword(BYTES).writable(u32::MAX),
        Register::dword(DATA).writable(u32::MAX),
    ];
    Capability::new(VENDOR, LONG, &registers)
}

/// Length of a capability that only locates a structure.
pub(crate) const LENGTH: u8 = 16;
/// Length of a capability with one more register.
pub(crate) const LONG: u8 = 20;
/// Offsets of the window's registers in its capability.
pub(crate) const BAR: u16 = 0x04;
pub(crate) const OFFSET: u16 = 0x08;
pub(crate) const BYTES: u16 = 0x0c;
pub(crate) const DATA: u16 = 0x10;

fn location(kind: CfgType, size: u8, bar: u8, offset: u32, length: u32) -> [Register; 5] {
    [
        Register::byte(0x02).value(size.into()),
        Register::byte(0x03).value(kind as u32),
        Register::byte(BAR).value(bar.into()),
        Register::dword(OFFSET).value(offset),
        Register::dword(BYTES).value(length),
    ]
}

const VENDOR: u8 = 0x09;
