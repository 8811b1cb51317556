//! INTx: the four level-triggered interrupt pins (PCI Local Bus 3.0, section 2.2.6).

use std::sync::Arc;

/// A wire to the interrupt controller. Implemented by the VMM.
pub trait IrqPin: Send + Sync {
    /// Drives the wire: asserted or not.
    ///
    /// Called on changes only, with a lock of the function held: it must not call back into the
    /// function. Where several functions share the wire, the implementer ORs their levels.
    fn set(&self, level: bool);
}

/// Which of the four pins a function uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InterruptPin {
    /// INTA#
    A,
    /// INTB#
    B,
    /// INTC#
    C,
    /// INTD#
    D,
}

impl InterruptPin {
    /// Value of the interrupt pin register: 1 to 4.
    pub const fn register(self) -> u8 {
        self as u8 + 1
    }

    /// The pin that this one becomes on the primary side of a bridge, for a function that is device
    /// number `device` behind it (PCI-to-PCI Bridge 1.2, table 9-1). Hosts commonly use the same rule
    /// to spread the devices of the root bus over four wires.
    pub const fn swizzle(self, device: u8) -> Self {
        match (self as u8).wrapping_add(device) % 4 {
            0 => Self::A,
            1 => Self::B,
            2 => Self::C,
            _ => Self::D,
        }
    }
}

/// A function's pin and the level it last drove.
pub(crate) struct Intx {
    pin: InterruptPin,
    wire: Arc<dyn IrqPin>,
    driven: bool,
}

impl Intx {
    pub(crate) fn new(pin: InterruptPin, wire: Arc<dyn IrqPin>) -> Self {
        Self {
            pin,
            wire,
            driven: false,
        }
    }

    pub(crate) fn pin(&self) -> InterruptPin {
        self.pin
    }

    pub(crate) fn drive(&mut self, level: bool) {
        if self.driven != level {
            self.driven = level;
            self.wire.set(level);
        }
    }
}

impl Drop for Intx {
    /// An unplugged function lets go of a wire that others may share.
    fn drop(&mut self) {
        self.drive(false);
    }
}
