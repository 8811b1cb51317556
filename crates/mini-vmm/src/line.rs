//! Level-triggered interrupt lines, shared by PCI functions.

use std::sync::{Arc, Mutex, PoisonError};

use kvm_ioctls::VmFd;
use vm_pci::{InterruptPin, IrqPin};

use crate::layout;

/// The lines that INTA# to INTD# of all slots are spread over.
pub struct IntxLines(Vec<Arc<Line>>);

impl IntxLines {
    /// Lines of `vm`, none of them asserted.
    pub fn new(vm: &Arc<VmFd>) -> Self {
        let gsis = layout::PCI_INTX_BASE..layout::PCI_INTX_BASE + layout::PCI_INTX;
        let line = |gsi| {
            Arc::new(Line {
                vm: Arc::clone(vm),
                gsi,
                asserted: Mutex::new(0),
            })
        };
        Self(gsis.map(line).collect())
    }

    /// The wire of INTA# of the device in slot `slot` of the root bus.
    pub fn pin(&self, slot: u8) -> Option<Arc<dyn IrqPin>> {
        let index =
            (layout::intx_gsi(slot, InterruptPin::A as u8) - layout::PCI_INTX_BASE) as usize;
        self.0
            .get(index)
            .map(|line| Arc::clone(line) as Arc<dyn IrqPin>)
    }
}

/// A line, high while any of its functions asserts it.
struct Line {
    vm: Arc<VmFd>,
    gsi: u32,
    asserted: Mutex<usize>,
}

impl IrqPin for Line {
    fn set(&self, level: bool) {
        let mut asserted = self.asserted.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *asserted > 0;
        // Functions report changes only, so that each counts once.
        *asserted = if level {
            asserted.saturating_add(1)
        } else {
            asserted.saturating_sub(1)
        };
        let after = *asserted > 0;
        if before != after && self.vm.set_irq_line(self.gsi, after).is_err() {
            log::debug!("KVM refuses interrupt {}", self.gsi);
        }
    }
}
