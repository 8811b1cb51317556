//! `boot_params`, the kernel's zero page, and the memory map in it.

use linux_loader::bootparam::{boot_e820_entry, boot_params, setup_header};

use crate::layout::{self, Range};
use crate::memory;

/// The zero page for a kernel with `header`, on a machine of `memory` bytes, of which `reserved` is marked.
pub(super) fn parameters(header: setup_header, memory: u64, reserved: Range) -> boot_params {
    let mut parameters = boot_params {
        hdr: header,
        acpi_rsdp_addr: layout::ACPI.base,
        ..Default::default()
    };
    let map = memory_map(memory, reserved);
    let mut table = parameters.e820_table;
    table
        .iter_mut()
        .zip(&map)
        .for_each(|(slot, entry)| *slot = *entry);
    parameters.e820_table = table;
    parameters.e820_entries = map.len() as u8;
    parameters
}

/// The ranges of memory and what they are.
pub(super) fn memory_map(memory: u64, reserved: Range) -> Vec<boot_e820_entry> {
    let entry = |base, end: u64, kind| boot_e820_entry {
        addr: base,
        size: end - base,
        r#type: kind,
    };
    let mut map = vec![
        entry(0, layout::LOW_USABLE_END, E820_RAM),
        entry(layout::FIRMWARE.base, layout::FIRMWARE.end(), E820_RESERVED),
    ];
    for range in memory::ranges(memory) {
        map.push(entry(
            range.base.max(layout::KERNEL_BASE),
            range.end(),
            E820_RAM,
        ));
    }
    if reserved.size > 0 {
        map.push(entry(reserved.base, reserved.end(), E820_RESERVED));
    }
    map
}

pub(super) const E820_RAM: u32 = 1;
pub(super) const E820_RESERVED: u32 = 2;
