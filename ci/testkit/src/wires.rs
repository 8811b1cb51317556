//! The transport of tests: no registers, counted interrupts.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use virtio_bus::{Kicks, VirtioBus};
use virtio_device::vmm_sys_util::eventfd::EventFd;
use virtio_device::{ByteOrder, Features, Interrupt, IrqSource};

/// How many interrupts of each kind came.
#[derive(Debug, Default)]
pub struct Interrupts {
    config: AtomicU32,
    queues: Mutex<Vec<u32>>,
}

impl Interrupts {
    /// Configuration interrupts so far.
    pub fn config(&self) -> u32 {
        self.config.load(Ordering::Acquire)
    }

    /// Interrupts of queue `queue` so far.
    pub fn queue(&self, queue: u16) -> u32 {
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.get(usize::from(queue)).copied().unwrap_or(0)
    }
}

impl Interrupt for Interrupts {
    fn trigger(&self, source: IrqSource) -> io::Result<()> {
        match source {
            IrqSource::Config => {
                self.config.fetch_add(1, Ordering::AcqRel);
            }
            IrqSource::Queue(queue) => {
                let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
                let index = usize::from(queue);
                if queues.len() <= index {
                    queues.resize(index + 1, 0);
                }
                queues[index] += 1;
            }
        }
        Ok(())
    }

    fn irqfd(&self, _: IrqSource) -> Option<EventFd> {
        None
    }
}

/// What the core sees of the transport.
pub(crate) struct Wires {
    pub(crate) interrupts: Arc<Interrupts>,
    /// The byte order of legacy drivers, if they are welcome.
    pub(crate) legacy: Option<ByteOrder>,
    /// Whether kicks are assigned: a device that runs has them, one that does not has not.
    pub(crate) assigned: AtomicBool,
}

impl VirtioBus for Wires {
    fn features(&self, offer: Features) -> Features {
        offer
    }

    fn legacy(&self) -> Option<ByteOrder> {
        self.legacy
    }

    fn interrupt(&self) -> Arc<dyn Interrupt> {
        self.interrupts.clone()
    }

    fn assign_kicks(&self, _: &Kicks) -> io::Result<()> {
        let before = self.assigned.swap(true, Ordering::AcqRel);
        assert!(!before, "kicks are assigned once");
        Ok(())
    }

    fn release_kicks(&self, _: &Kicks) {
        self.assigned.store(false, Ordering::Release);
    }
}
