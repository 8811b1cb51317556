//! Where everything is in the guest's address spaces: one table.
//!
//! ```text
//! 0          RAM  (640 KiB of it usable; boot structures below)
//! 0xe0000    ACPI tables
//! 0x100000   RAM, up to 3 GiB
//! 0xc0000000 ECAM
//! 0xc8000000 PCI, 32-bit window
//! 0xfeb00000 virtio-mmio slots
//! 0xfec00000 I/O APIC; local APIC at 0xfee00000; KVM's own pages at 0xfffbc000
//! 4 GiB      RAM, the rest
//! above RAM  PCI, 64-bit window
//! ```

use std::ops::RangeInclusive;

/// A range of addresses: start and length in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// First address.
    pub base: u64,
    /// Length in bytes.
    pub size: u64,
}

impl Range {
    /// First address after the range.
    pub const fn end(self) -> u64 {
        self.base + self.size
    }
}

/// RAM below the hole for devices.
pub const LOW_RAM: Range = Range {
    base: 0,
    size: 0xc000_0000,
};
/// Start of the RAM that does not fit below the hole.
pub const HIGH_RAM_BASE: u64 = 1 << 32;

/// Global descriptor table of the boot vCPU.
pub const GDT: u64 = 0x500;
/// `boot_params`, the kernel's zero page.
pub const BOOT_PARAMS: u64 = 0x7000;
/// Stack pointer at the kernel's entry.
pub const BOOT_STACK: u64 = 0x8ff0;
/// Page tables of the boot vCPU: one level-4, one level-3 and [`IDENTITY_GIB`] level-2 tables.
pub const PAGE_TABLES: u64 = 0x9000;
/// GiB mapped one to one at entry.
pub const IDENTITY_GIB: u64 = 4;
/// The kernel's command line.
pub const COMMAND_LINE: Range = Range {
    base: 0x2_0000,
    size: 0x1_0000,
};
/// End of the RAM usable below 1 MiB.
pub const LOW_USABLE_END: u64 = 0x9_fc00;
/// What a BIOS would fill: ACPI tables, and the reset vector at its end.
pub const FIRMWARE: Range = Range {
    base: 0xe_0000,
    size: 0x2_0000,
};
/// ACPI tables, where a BIOS would have its root pointer.
pub const ACPI: Range = Range {
    base: 0xe_0000,
    size: 0x1_0000,
};
/// Where real mode starts, and where a kernel without another way to reboot jumps to.
pub const RESET_VECTOR: u64 = 0xf_fff0;
/// RAM from here on holds kernel and initrd.
pub const KERNEL_BASE: u64 = 0x10_0000;

/// PCIe configuration space, 1 MiB for each bus.
pub const ECAM_BASE: u64 = 0xc000_0000;
/// Most buses that ECAM has room for.
pub const MOST_BUSES: u8 = 128;
/// 32-bit window for PCI BARs.
pub const PCI_MMIO32: Range = Range {
    base: 0xc800_0000,
    size: 0x36b0_0000,
};
/// Size of the 64-bit window for PCI BARs.
pub const PCI_MMIO64_SIZE: u64 = 1 << 35;
/// I/O ports for PCI BARs, and the fewer of a machine that has [`PCI_HOTPLUG`].
pub const PCI_PORTS: RangeInclusive<u16> = 0x1000..=0xffff;
/// As [`PCI_PORTS`].
pub const PCI_HIGH_PORTS: RangeInclusive<u16> = 0xc000..=0xffff;
/// Registers of PCI hot-plug by ACPI.
pub const PCI_HOTPLUG: u16 = 0xae00;
/// Firmware configuration: selector and data.
pub const FW_CFG: u16 = 0x510;

/// First virtio-mmio slot; each is [`VIRTIO_MMIO_SLOT`] bytes.
pub const VIRTIO_MMIO: u64 = 0xfeb0_0000;
/// Size of a virtio-mmio slot.
pub const VIRTIO_MMIO_SLOT: u64 = 0x1000;
/// Interrupts of the virtio-mmio slots; there are as many slots as interrupts.
pub const VIRTIO_MMIO_GSIS: [u32; 8] = [5, 6, 7, 10, 11, 12, 14, 15];

/// The in-kernel I/O APIC.
pub const IO_APIC: u32 = 0xfec0_0000;
/// The local APICs.
pub const LOCAL_APIC: u32 = 0xfee0_0000;
/// KVM's identity-map page; its three TSS pages follow.
pub const KVM_IDENTITY_MAP: u64 = 0xfffb_c000;
/// KVM's TSS pages (Intel).
pub const KVM_TSS: u64 = 0xfffb_d000;

/// Interrupts of the I/O APIC.
pub const IO_APIC_PINS: u32 = 24;
/// First of the [`PCI_INTX`] interrupts that INTA# to INTD# are spread over.
pub const PCI_INTX_BASE: u32 = 16;
/// Number of interrupts for PCI's pins.
pub const PCI_INTX: u32 = 4;

/// I/O ports and interrupt of each 16550.
pub const SERIAL_PORTS: [(u16, u32); 2] = [(0x3f8, 4), (0x2f8, 3)];
/// Keyboard controller's command port, kept for its reset command.
pub const I8042_COMMAND: u16 = 0x64;
/// The register of board events, and its interrupt.
pub const EVENTS: u16 = 0x608;
/// As [`EVENTS`].
pub const EVENT_GSI: u32 = 9;
/// ACPI sleep control, sleep status and reset registers, one byte each.
pub const POWER: u16 = 0x600;

/// Where the 64-bit window of PCI starts, above `memory` bytes of RAM.
pub fn pci_mmio64(memory: u64) -> Range {
    let high = memory.saturating_sub(LOW_RAM.size);
    let base = (HIGH_RAM_BASE + high).next_multiple_of(PCI_MMIO64_SIZE);
    Range {
        base,
        size: PCI_MMIO64_SIZE,
    }
}

/// Interrupt of pin `pin` (0 is INTA#) of the device in slot `slot` of the root bus.
pub fn intx_gsi(slot: u8, pin: u8) -> u32 {
    PCI_INTX_BASE + (u32::from(slot) + u32::from(pin)) % PCI_INTX
}
