//! A vCPU thread: enters the guest and hands its accesses to the I/O bus.

use std::io;
use std::sync::Arc;

use kvm_bindings::{KVM_SYSTEM_EVENT_CRASH, KVM_SYSTEM_EVENT_RESET, KVM_SYSTEM_EVENT_SHUTDOWN};
use kvm_ioctls::{VcpuExit, VcpuFd};
use vm_device::bus::{MmioAddress, PioAddress};
use vm_device::device_manager::{IoManager, MmioManager, PioManager};
use vm_memory::GuestAddress;

use crate::cpu::{self, ResetState};
use crate::exit::{Wish, Wishes};
use crate::gate::{Gate, Order};

/// A vCPU and what its thread needs.
pub struct Vcpu {
    /// KVM's descriptor.
    pub fd: VcpuFd,
    /// Number of the vCPU; 0 is the one that boots.
    pub index: u8,
    /// What a reset puts back.
    pub reset: ResetState,
    /// Where accesses to I/O ports and device memory go.
    pub bus: Arc<IoManager>,
    /// Where the guest's wishes go.
    pub wishes: Wishes,
    /// When to run.
    pub gate: Arc<Gate>,
}

impl Vcpu {
    /// The thread's body: obeys the gate until told to quit.
    pub fn run(mut self) {
        let mut last = 0;
        loop {
            let wish = match self.gate.wait(&mut last) {
                Order::Quit => return,
                Order::Continue => {
                    // The guest's watchdogs are not to count the pause. A guest without this clock
                    // is told nothing, which is the only failure there is.
                    let _ = self.fd.kvmclock_ctrl();
                    self.guest()
                }
                Order::Start(entry) => match self.start(entry) {
                    Ok(()) => self.guest(),
                    Err(error) => Some(self.failure("cannot be reset", error)),
                },
            };
            if let Some(wish) = wish {
                self.wishes.make(wish);
            }
            self.complete_access();
        }
    }

    /// Every start is a reset: the first one, too.
    fn start(&self, entry: GuestAddress) -> io::Result<()> {
        self.reset.put(&self.fd)?;
        match self.index {
            0 => cpu::enter(&self.fd, entry),
            _ => Ok(()),
        }
    }

    /// Runs the guest until the gate closes (`None`) or the guest wants something.
    fn guest(&mut self) -> Option<Wish> {
        while !self.gate.is_closed() {
            match self.fd.run() {
                Ok(VcpuExit::Intr) => {}
                Ok(exit) => {
                    if let Some(end) = dispatch(exit, &self.bus) {
                        return Some(self.wish(end));
                    }
                }
                Err(error) if matches!(error.errno(), libc::EINTR | libc::EAGAIN) => {}
                Err(error) => return Some(self.failure("cannot run", error.into())),
            }
        }
        None
    }

    /// KVM finishes an access on the next entry. Left pending, it would write into the registers
    /// that a reset puts back.
    fn complete_access(&mut self) {
        self.fd.set_kvm_immediate_exit(1);
        let _ = self.fd.run();
        self.fd.set_kvm_immediate_exit(0);
    }

    fn wish(&self, end: End) -> Wish {
        match end {
            End::Wish(wish) => wish,
            End::Unhandled(what) => {
                let at = self.fd.get_regs().map_or(0, |regs| regs.rip);
                Wish::Failure(format!("vCPU {}: {what} at {at:#x}", self.index))
            }
        }
    }

    fn failure(&self, what: &str, error: io::Error) -> Wish {
        Wish::Failure(format!("vCPU {} {what}: {error}", self.index))
    }
}

/// Why a vCPU stops.
enum End {
    Wish(Wish),
    Unhandled(String),
}

fn dispatch(exit: VcpuExit<'_>, bus: &IoManager) -> Option<End> {
    match exit {
        VcpuExit::IoOut(port, data) => pio_write(bus, port, data),
        VcpuExit::IoIn(port, data) => pio_read(bus, port, data),
        VcpuExit::MmioRead(address, data) => {
            if bus.mmio_read(MmioAddress(address), data).is_err() {
                data.fill(0xff);
            }
        }
        // Nothing there: the write is lost, as on hardware.
        VcpuExit::MmioWrite(address, data) => drop(bus.mmio_write(MmioAddress(address), data)),
        // A triple fault resets a PC. Few kernels mean it.
        VcpuExit::Shutdown => {
            log::warn!("triple fault of the guest: the machine is reset");
            return Some(End::Wish(Wish::Reset));
        }
        VcpuExit::SystemEvent(KVM_SYSTEM_EVENT_SHUTDOWN, _) => {
            return Some(End::Wish(Wish::PowerOff));
        }
        VcpuExit::SystemEvent(KVM_SYSTEM_EVENT_RESET, _) => return Some(End::Wish(Wish::Reset)),
        VcpuExit::SystemEvent(KVM_SYSTEM_EVENT_CRASH, _) => {
            return Some(End::Wish(Wish::GuestPanic));
        }
        VcpuExit::FailEntry(reason, _) => {
            return Some(End::Unhandled(format!(
                "entry failed, hardware reason {reason:#x}"
            )));
        }
        VcpuExit::InternalError => return Some(End::Unhandled("KVM cannot emulate".into())),
        other => return Some(End::Unhandled(format!("unexpected exit {other:?}"))),
    }
    None
}

/// A repeated access comes as one piece; the length tells it from a single one, but for pieces of
/// 2 and 4 bytes, which are taken as single.
fn pio_write(bus: &IoManager, port: u16, data: &[u8]) {
    for access in data.chunks(access_size(data.len())) {
        let _ = bus.pio_write(PioAddress(port), access);
    }
}

fn pio_read(bus: &IoManager, port: u16, data: &mut [u8]) {
    let size = access_size(data.len());
    for access in data.chunks_mut(size) {
        if bus.pio_read(PioAddress(port), access).is_err() {
            access.fill(0xff);
        }
    }
}

fn access_size(length: usize) -> usize {
    if matches!(length, 2 | 4) { length } else { 1 }
}
