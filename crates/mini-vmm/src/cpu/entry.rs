//! The boot vCPU's state at the kernel's 64-bit entry point: long mode, flat segments, RAM mapped
//! one to one (Documentation/arch/x86/boot.rst, "64-bit boot protocol").

use std::io;

use kvm_bindings::{kvm_regs, kvm_segment, kvm_sregs};
use kvm_ioctls::VcpuFd;
use vm_memory::{Bytes, GuestAddress, GuestMemoryError};

use crate::acpi::RESET_VALUE;
use crate::layout;
use crate::memory::Memory;
use crate::ports;

/// Writes the descriptor and page tables that [`enter`] points at, and the code at the reset vector:
/// Linux jumps there to reboot a hardware-reduced machine that has no EFI.
///
/// # Errors
/// Where guest memory ends below them.
pub fn write_tables(memory: &Memory) -> Result<(), GuestMemoryError> {
    for (address, descriptor) in (layout::GDT..).step_by(8).zip(GDT) {
        memory.write_obj(descriptor, GuestAddress(address))?;
    }
    memory.write_slice(&RESET_CODE, GuestAddress(layout::RESET_VECTOR))?;
    let directories = LEVEL_3 + PAGE;
    memory.write_obj(LEVEL_3 | TABLE, GuestAddress(layout::PAGE_TABLES))?;
    for gib in 0..layout::IDENTITY_GIB {
        let directory = directories + gib * PAGE;
        memory.write_obj(directory | TABLE, GuestAddress(LEVEL_3 + gib * 8))?;
    }
    for page in 0..layout::IDENTITY_GIB * ENTRIES {
        memory.write_obj(
            (page << 21) | LARGE_PAGE,
            GuestAddress(directories + page * 8),
        )?;
    }
    Ok(())
}

/// Puts `vcpu` at the 64-bit entry point `entry`.
///
/// # Errors
/// Those of KVM.
pub fn enter(vcpu: &VcpuFd, entry: GuestAddress) -> io::Result<()> {
    let mut sregs = vcpu.get_sregs()?;
    long_mode(&mut sregs);
    vcpu.set_sregs(&sregs)?;
    vcpu.set_regs(&kvm_regs {
        rflags: RFLAGS_RESERVED,
        rip: entry.0,
        rsp: layout::BOOT_STACK,
        rbp: layout::BOOT_STACK,
        rsi: layout::BOOT_PARAMS,
        ..Default::default()
    })?;
    Ok(())
}

fn long_mode(sregs: &mut kvm_sregs) {
    sregs.cs = segment(2, Kind::Code);
    let data = segment(3, Kind::Data);
    (sregs.ds, sregs.es, sregs.fs, sregs.gs, sregs.ss) = (data, data, data, data, data);
    sregs.tr = segment(4, Kind::Tss);
    sregs.gdt.base = layout::GDT;
    sregs.gdt.limit = (size_of_val(&GDT) - 1) as u16;
    sregs.idt.base = 0;
    sregs.idt.limit = 0;
    sregs.cr3 = layout::PAGE_TABLES;
    sregs.cr4 |= CR4_PAE;
    sregs.cr0 |= CR0_PE | CR0_PG;
    sregs.efer |= EFER_LME | EFER_LMA;
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Code,
    Data,
    Tss,
}

fn segment(index: u16, kind: Kind) -> kvm_segment {
    let flat = kind != Kind::Tss;
    kvm_segment {
        limit: if flat { 0xffff_ffff } else { 0x67 },
        selector: index * 8,
        type_: if kind == Kind::Data {
            DATA
        } else {
            CODE_OR_BUSY_TSS
        },
        present: 1,
        db: u8::from(kind == Kind::Data),
        s: u8::from(flat),
        l: u8::from(kind == Kind::Code),
        g: u8::from(flat),
        ..Default::default()
    }
}

/// The protocol wants code at selector 0x10 and data at 0x18; a TSS follows.
const GDT: [u64; 5] = [
    0,
    0,
    0x00af_9b00_0000_ffff,
    0x00cf_9300_0000_ffff,
    0x0000_8b00_0000_0067,
];
/// Execute and read, accessed; as a system type, a busy TSS.
const CODE_OR_BUSY_TSS: u8 = 0xb;
const DATA: u8 = 0x3;
/// `mov dx, port; mov al, value; out dx, al; hlt`, in real mode.
const RESET_CODE: [u8; 7] = {
    let [low, high] = ports::RESET_PORT.to_le_bytes();
    [0xba, low, high, 0xb0, RESET_VALUE, 0xee, 0xf4]
};
const PAGE: u64 = 4096;
const ENTRIES: u64 = 512;
const LEVEL_3: u64 = layout::PAGE_TABLES + PAGE;
/// Present, writable.
const TABLE: u64 = 0x3;
/// Present, writable, 2 MiB.
const LARGE_PAGE: u64 = 0x83;
const RFLAGS_RESERVED: u64 = 2;
const CR0_PE: u64 = 1;
const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;
