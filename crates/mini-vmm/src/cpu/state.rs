//! What a reset puts back into a vCPU: its state as KVM created it.

use std::io;

use kvm_bindings::{
    Msrs, kvm_debugregs, kvm_fpu, kvm_lapic_state, kvm_mp_state, kvm_msr_entry, kvm_regs,
    kvm_sregs, kvm_vcpu_events, kvm_xcrs,
};
use kvm_ioctls::{Kvm, VcpuFd};

/// The state of a vCPU that has not run yet.
#[derive(Clone)]
pub struct ResetState {
    regs: kvm_regs,
    sregs: kvm_sregs,
    fpu: kvm_fpu,
    xcrs: Option<kvm_xcrs>,
    debug: kvm_debugregs,
    events: kvm_vcpu_events,
    lapic: kvm_lapic_state,
    mp: kvm_mp_state,
    msrs: Vec<kvm_msr_entry>,
}

impl ResetState {
    /// Takes the state of a new vCPU, after giving it what firmware would have set up.
    ///
    /// # Errors
    /// Those of KVM.
    pub fn take(kvm: &Kvm, vcpu: &VcpuFd) -> io::Result<Self> {
        let indices = kvm.get_msr_index_list()?;
        let mut lapic = vcpu.get_lapic()?;
        wire_lapic(&mut lapic);
        let mut msrs = read_msrs(vcpu, indices.as_slice())?;
        firmware_msrs(&mut msrs);
        let state = Self {
            regs: vcpu.get_regs()?,
            sregs: vcpu.get_sregs()?,
            fpu: vcpu.get_fpu()?,
            xcrs: vcpu.get_xcrs().ok().filter(|xcrs| xcrs.nr_xcrs > 0),
            debug: vcpu.get_debug_regs()?,
            events: vcpu.get_vcpu_events()?,
            lapic,
            mp: vcpu.get_mp_state()?,
            msrs,
        };
        Ok(state)
    }

    /// Puts the state into a vCPU that is not running.
    ///
    /// # Errors
    /// Those of KVM.
    pub fn put(&self, vcpu: &VcpuFd) -> io::Result<()> {
        let Self {
            regs,
            sregs,
            fpu,
            xcrs,
            debug,
            events,
            lapic,
            mp,
            msrs,
        } = self;
        // The APIC base in `sregs` decides how KVM reads `lapic`; the MSRs may depend on both.
        vcpu.set_mp_state(*mp)?;
        vcpu.set_sregs(sregs)?;
        vcpu.set_regs(regs)?;
        vcpu.set_fpu(fpu)?;
        if let Some(xcrs) = xcrs {
            vcpu.set_xcrs(xcrs)?;
        }
        vcpu.set_debug_regs(debug)?;
        vcpu.set_lapic(lapic)?;
        write_msrs(vcpu, msrs)?;
        vcpu.set_vcpu_events(events)?;
        Ok(())
    }
}

/// Reads those of `indices` that KVM lets us read.
fn read_msrs(vcpu: &VcpuFd, indices: &[u32]) -> io::Result<Vec<kvm_msr_entry>> {
    let wanted = indices.iter().filter(|index| !KEPT.contains(index));
    let mut pending: Vec<_> = wanted
        .map(|index| kvm_msr_entry {
            index: *index,
            ..Default::default()
        })
        .collect();
    let mut read = Vec::with_capacity(pending.len());
    // KVM stops at the first MSR it refuses: leave that one out and go on after it.
    while !pending.is_empty() {
        let mut msrs = wrap(&pending)?;
        let done = vcpu.get_msrs(&mut msrs)?;
        read.extend(msrs.as_slice().iter().take(done));
        pending.drain(..pending.len().min(done + 1));
    }
    Ok(read)
}

/// Writes `entries`, leaving out those that KVM takes from no one.
fn write_msrs(vcpu: &VcpuFd, entries: &[kvm_msr_entry]) -> io::Result<()> {
    let mut pending = entries;
    while !pending.is_empty() {
        let done = vcpu.set_msrs(&wrap(pending)?)?;
        pending = pending.get(done + 1..).unwrap_or_default();
    }
    Ok(())
}

fn wrap(entries: &[kvm_msr_entry]) -> io::Result<Msrs> {
    Msrs::from_entries(entries).map_err(|error| io::Error::other(format!("{error:?}")))
}

/// KVM lists only some of these, and takes all of them.
fn firmware_msrs(msrs: &mut Vec<kvm_msr_entry>) {
    for (index, data) in FIRMWARE {
        match msrs.iter_mut().find(|entry| entry.index == *index) {
            Some(entry) => entry.data |= data,
            None => msrs.push(kvm_msr_entry {
                index: *index,
                data: *data,
                ..Default::default()
            }),
        }
    }
}

/// LINT0 takes the PIC's interrupts and LINT1 the NMI, as firmware leaves them.
fn wire_lapic(lapic: &mut kvm_lapic_state) {
    for (offset, mode) in [(LVT_LINT0, EXT_INT), (LVT_LINT1, NMI)] {
        let register = lapic.regs.iter_mut().skip(offset).take(4);
        register
            .zip(u32::to_le_bytes(mode))
            .for_each(|(byte, value)| *byte = value as _);
    }
}

/// Fast string operations on; write-back as default memory type, MTRRs enabled.
const FIRMWARE: &[(u32, u64)] = &[(0x1a0, 1), (0x2ff, 0x806)];
/// The time-stamp counter goes on over a reset, or vCPUs would lose step.
const KEPT: &[u32] = &[0x10];
const LVT_LINT0: usize = 0x350;
const LVT_LINT1: usize = 0x360;
const EXT_INT: u32 = 0x700;
const NMI: u32 = 0x400;
