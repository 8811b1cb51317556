//! What leads from devices to processors: interrupt lines, interrupt messages and doorbells.
//!
//! One assembly of a machine serves several kinds of processors: those of KVM, and none at all.

use std::io;
use std::sync::Arc;

use kvm_ioctls::VmFd;
use vm_pci::MsiSink;
use vmm_sys_util::eventfd::EventFd;

use crate::doorbells::Doorbells;
use crate::error::{Error, host};
use crate::irq::Irqs;
use crate::msi::MsiRoutes;
use crate::tally::Tally;

/// The wires of a machine.
#[derive(Clone)]
pub struct Wires {
    /// Interrupt lines.
    pub lines: Arc<dyn Lines>,
    /// Interrupt messages of PCI functions.
    pub msi: Arc<dyn MsiSink>,
    /// Doorbells that are answered before a device hears of them, where there is such a thing.
    pub doorbells: Option<Arc<Doorbells>>,
}

/// Interrupt lines of an interrupt controller.
pub trait Lines: Send + Sync {
    /// An event that raises `gsi` as an edge.
    ///
    /// # Errors
    /// Where the host refuses.
    fn edge(&self, gsi: u32) -> io::Result<EventFd>;

    /// Drives `gsi` high or low.
    ///
    /// # Errors
    /// Where the host refuses.
    fn drive(&self, gsi: u32, high: bool) -> io::Result<()>;
}

impl Wires {
    /// Wires to the processors of `vm`, and the interrupt controllers that they pass through. What
    /// they take of KVM is counted in `tally`.
    ///
    /// # Errors
    /// Those of KVM.
    pub fn kvm(vm: &Arc<VmFd>, tally: &Arc<Tally>) -> Result<(Self, Irqs), Error> {
        let irqs = Irqs::create(Arc::clone(vm), Arc::clone(tally));
        let irqs = irqs.map_err(host("cannot create interrupts"))?;
        let wires = Self {
            lines: Arc::new(irqs.clone()),
            msi: Arc::new(MsiRoutes::new(Arc::clone(vm), Arc::clone(tally))),
            doorbells: Some(Arc::new(Doorbells::new(Arc::clone(vm), Arc::clone(tally)))),
        };
        Ok((wires, irqs))
    }
}
