//! Level-triggered interrupt lines, shared by PCI functions.

use std::sync::{Arc, Mutex, PoisonError};

use vm_pci::{InterruptPin, IrqPin};

use crate::layout;
use crate::wires::Lines;

/// The lines that INTA# to INTD# of all slots are spread over.
pub struct IntxLines(Vec<Arc<Line>>);

impl IntxLines {
    /// Lines that lead to `lines`, none of them asserted.
    pub fn new(lines: &Arc<dyn Lines>) -> Self {
        let gsis = layout::PCI_INTX_BASE..layout::PCI_INTX_BASE + layout::PCI_INTX;
        let line = |gsi| {
            Arc::new(Line {
                lines: Arc::clone(lines),
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
    lines: Arc<dyn Lines>,
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
        if before != after && self.lines.drive(self.gsi, after).is_err() {
            log::debug!("the host refuses interrupt {}", self.gsi);
        }
    }
}
