//! Wires that end before a processor.

use std::io;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use vm_memory::{Bytes, GuestAddress, GuestAddressSpace};
use vm_pci::{MsiMessage, MsiSink, MsiVector};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::memory::SharedMemory;
use crate::wires::{Lines, Wires};

/// The wires of a machine without processors: interrupt messages are writes to `memory`, lines lead
/// nowhere, and every doorbell is decoded by its device.
pub fn wires(memory: &SharedMemory) -> Wires {
    Wires {
        lines: Arc::new(Loose),
        msi: Arc::new(Messages(memory.clone())),
        doorbells: None,
    }
}

struct Loose;

impl Lines for Loose {
    fn edge(&self, _: u32) -> io::Result<EventFd> {
        EventFd::new(EFD_NONBLOCK)
    }

    fn drive(&self, _: u32, _: bool) -> io::Result<()> {
        Ok(())
    }
}

struct Messages(SharedMemory);

impl MsiSink for Messages {
    fn vector(&self) -> io::Result<Arc<dyn MsiVector>> {
        Ok(Arc::new(Vector {
            memory: self.0.clone(),
            message: ArcSwapOption::empty(),
        }))
    }
}

struct Vector {
    memory: SharedMemory,
    message: ArcSwapOption<MsiMessage>,
}

impl MsiVector for Vector {
    fn program(&self, message: Option<MsiMessage>) -> io::Result<()> {
        self.message.store(message.map(Arc::new));
        Ok(())
    }

    /// A message to an address without memory is lost.
    fn fire(&self) -> io::Result<()> {
        if let Some(message) = &*self.message.load() {
            let (data, address) = (message.data.to_le(), GuestAddress(message.address));
            let _ = self.memory.memory().write_obj(data, address);
        }
        Ok(())
    }

    fn irqfd(&self) -> Option<&EventFd> {
        None
    }
}
