//! Where a device is plugged, and a slot with nothing in it.

use std::sync::Arc;

use virtio_bus::IoEventFds;
use vm_device::DeviceMmio;
use vm_device::bus::{MmioAddress, MmioAddressOffset};

use crate::IrqLine;
use crate::register::{self, Direction, Register};

/// A place on the MMIO bus: a window of the guest's address space and an interrupt line.
pub struct MmioSlot {
    pub(crate) address: u64,
    pub(crate) line: Box<dyn IrqLine>,
    pub(crate) ioeventfds: Option<Arc<dyn IoEventFds>>,
}

impl MmioSlot {
    /// Size of the window to register, in bytes: 256 of control registers and as many of
    /// configuration space.
    pub const SIZE: u64 = 0x200;

    /// A window at guest address `address`, interrupting through `line`.
    pub fn new(address: u64, line: impl IrqLine + 'static) -> Self {
        Self {
            address,
            line: Box::new(line),
            ioeventfds: None,
        }
    }

    /// Lets the kernel handle notifications.
    #[must_use]
    pub fn ioeventfds(mut self, ioeventfds: Arc<dyn IoEventFds>) -> Self {
        self.ioeventfds = Some(ioeventfds);
        self
    }
}

/// A window without a device: device ID 0, by which drivers know to leave it alone (section
/// 4.2.2). For address maps whose windows are laid out before it is known what fills them.
#[derive(Clone, Copy, Debug, Default)]
pub struct EmptySlot;

impl DeviceMmio for EmptySlot {
    fn mmio_read(&self, _: MmioAddress, offset: MmioAddressOffset, data: &mut [u8]) {
        let value: u32 = match register::at(offset, data.len(), false, Direction::Read) {
            Some(Register::MagicValue) => register::MAGIC,
            Some(Register::Version) => 2,
            Some(Register::VendorId) => register::VENDOR,
            _ => 0,
        };
        data.fill(0);
        data.iter_mut()
            .zip(value.to_le_bytes())
            .for_each(|(to, from)| *to = from);
    }

    fn mmio_write(&self, _: MmioAddress, _: MmioAddressOffset, _: &[u8]) {}
}
