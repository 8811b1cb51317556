//! Doorbells of virtio transports, answered by KVM without leaving the kernel.

use std::io;
use std::sync::Arc;

use kvm_ioctls::{IoEventAddress, NoDatamatch, VmFd};
use virtio_bus::{Doorbell, DoorbellAddress, DoorbellValue, IoEventFds};
use vmm_sys_util::eventfd::EventFd;

use crate::tally::Tally;

/// Registers ioeventfds of a virtual machine.
#[derive(Clone, Debug)]
pub struct Doorbells {
    vm: Arc<VmFd>,
    tally: Arc<Tally>,
}

impl Doorbells {
    /// Those of `vm`, counted in `tally`.
    pub fn new(vm: Arc<VmFd>, tally: Arc<Tally>) -> Self {
        Self { vm, tally }
    }
}

impl IoEventFds for Doorbells {
    fn assign(&self, doorbell: Doorbell, fd: &EventFd) -> io::Result<()> {
        let (vm, at) = (&self.vm, &address(doorbell.at)?);
        match doorbell.value {
            DoorbellValue::Any => vm.register_ioevent(fd, at, NoDatamatch),
            DoorbellValue::U16(value) => vm.register_ioevent(fd, at, value),
            DoorbellValue::U32(value) => vm.register_ioevent(fd, at, value),
            DoorbellValue::U64(value) => vm.register_ioevent(fd, at, value),
        }?;
        self.tally.ioeventfds.more();
        Ok(())
    }

    fn release(&self, doorbell: Doorbell, fd: &EventFd) -> io::Result<()> {
        let (vm, at) = (&self.vm, &address(doorbell.at)?);
        match doorbell.value {
            DoorbellValue::Any => vm.unregister_ioevent(fd, at, NoDatamatch),
            DoorbellValue::U16(value) => vm.unregister_ioevent(fd, at, value),
            DoorbellValue::U32(value) => vm.unregister_ioevent(fd, at, value),
            DoorbellValue::U64(value) => vm.unregister_ioevent(fd, at, value),
        }?;
        self.tally.ioeventfds.less();
        Ok(())
    }
}

/// A PC has no subchannels.
fn address(at: DoorbellAddress) -> io::Result<IoEventAddress> {
    match at {
        DoorbellAddress::Pio(port) => Ok(IoEventAddress::Pio(port.into())),
        DoorbellAddress::Mmio(address) => Ok(IoEventAddress::Mmio(address)),
        DoorbellAddress::Subchannel(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}
