//! The host's side of the seams, with a memory of what happened.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use virtio_device::vmm_sys_util::eventfd::EventFd;
use virtio_pci::virtio_bus::{Doorbell, IoEventFds};
use virtio_pci::vm_pci::{IrqPin, MsiMessage, MsiSink, MsiVector};

/// Messages that were sent: their data.
#[derive(Default)]
pub struct Sink(Arc<Mutex<Vec<u32>>>);

impl Sink {
    pub fn take(&self) -> Vec<u32> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl MsiSink for Sink {
    fn vector(&self) -> io::Result<Arc<dyn MsiVector>> {
        Ok(Arc::new(Vector {
            sent: self.0.clone(),
            message: Mutex::new(None),
            event: EventFd::new(0)?,
        }))
    }
}

struct Vector {
    sent: Arc<Mutex<Vec<u32>>>,
    message: Mutex<Option<MsiMessage>>,
    event: EventFd,
}

impl MsiVector for Vector {
    fn program(&self, message: Option<MsiMessage>) -> io::Result<()> {
        *self.message.lock().unwrap() = message;
        Ok(())
    }

    fn fire(&self) -> io::Result<()> {
        if let Some(message) = *self.message.lock().unwrap() {
            self.sent.lock().unwrap().push(message.data);
        }
        Ok(())
    }

    fn irqfd(&self) -> Option<&EventFd> {
        Some(&self.event)
    }
}

/// The level of INTA#, and how often it rose.
#[derive(Default)]
pub struct Wire {
    level: AtomicBool,
    rises: AtomicU32,
}

impl Wire {
    pub fn is_high(&self) -> bool {
        self.level.load(Ordering::SeqCst)
    }

    pub fn rises(&self) -> u32 {
        self.rises.load(Ordering::SeqCst)
    }
}

impl IrqPin for Wire {
    fn set(&self, level: bool) {
        self.level.store(level, Ordering::SeqCst);
        self.rises.fetch_add(level.into(), Ordering::SeqCst);
    }
}

/// The doorbells that are assigned, with their descriptors.
#[derive(Default)]
pub struct Bells {
    there: Mutex<BTreeMap<Doorbell, EventFd>>,
    pub refuse: AtomicBool,
}

impl Bells {
    pub fn list(&self) -> Vec<Doorbell> {
        self.there.lock().unwrap().keys().copied().collect()
    }

    /// What the kernel does on a guest's write.
    pub fn ring(&self, doorbell: Doorbell) {
        self.there.lock().unwrap()[&doorbell].write(1).unwrap();
    }
}

impl IoEventFds for Bells {
    fn assign(&self, doorbell: Doorbell, fd: &EventFd) -> io::Result<()> {
        if self.refuse.load(Ordering::SeqCst) {
            return Err(io::Error::other("no room in the kernel"));
        }
        let before = self.there.lock().unwrap().insert(doorbell, fd.try_clone()?);
        assert!(before.is_none(), "assigned once");
        Ok(())
    }

    fn release(&self, doorbell: Doorbell, _: &EventFd) -> io::Result<()> {
        let before = self.there.lock().unwrap().remove(&doorbell);
        assert!(before.is_some(), "released after it was assigned");
        Ok(())
    }
}
