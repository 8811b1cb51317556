//! Doorbells of virtio transports, answered by KVM without leaving the kernel.

use std::io;
use std::sync::Arc;

use kvm_ioctls::{IoEventAddress, NoDatamatch, VmFd};
use virtio_pci::Doorbell;
use vm_pci::IoAddr;
use vmm_sys_util::eventfd::EventFd;

/// Registers ioeventfds of a virtual machine.
#[derive(Clone, Debug)]
pub struct Doorbells(pub Arc<VmFd>);

impl virtio_mmio::IoEventFds for Doorbells {
    fn assign(&self, address: u64, datamatch: u32, fd: &EventFd) -> io::Result<()> {
        let address = IoEventAddress::Mmio(address);
        self.0
            .register_ioevent(fd, &address, datamatch)
            .map_err(io::Error::from)
    }

    fn release(&self, address: u64, datamatch: u32, fd: &EventFd) -> io::Result<()> {
        let address = IoEventAddress::Mmio(address);
        self.0
            .unregister_ioevent(fd, &address, datamatch)
            .map_err(io::Error::from)
    }
}

impl virtio_pci::IoEventFds for Doorbells {
    fn assign(&self, doorbell: Doorbell, fd: &EventFd) -> io::Result<()> {
        let address = address(doorbell.at);
        match doorbell.value {
            Some(value) => self.0.register_ioevent(fd, &address, value),
            None => self.0.register_ioevent(fd, &address, NoDatamatch),
        }
        .map_err(io::Error::from)
    }

    fn release(&self, doorbell: Doorbell, fd: &EventFd) -> io::Result<()> {
        let address = address(doorbell.at);
        match doorbell.value {
            Some(value) => self.0.unregister_ioevent(fd, &address, value),
            None => self.0.unregister_ioevent(fd, &address, NoDatamatch),
        }
        .map_err(io::Error::from)
    }
}

fn address(at: IoAddr) -> IoEventAddress {
    match at {
        IoAddr::Pio(port) => IoEventAddress::Pio(port.into()),
        IoAddr::Mmio(address) => IoEventAddress::Mmio(address),
    }
}
