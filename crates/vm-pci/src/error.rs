//! Errors of a VMM that puts a function or a bus together wrongly. A guest causes none of these.

use crate::address::Slot;

/// A configuration space, BAR or capability that cannot exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A register lies past the end of configuration space.
    #[error("register at {at:#x} is past the end of configuration space")]
    OutOfSpace {
        /// Offset of the register.
        at: u16,
    },
    /// A capability offset is not a multiple of 4 or outside the part of the space that lists may use.
    #[error("capability at {at:#x}: offset must be a multiple of 4 within {first:#x}..{end:#x}")]
    CapabilityOffset {
        /// Offset that was asked for.
        at: u16,
        /// First offset that is accepted.
        first: u16,
        /// End of the space for this kind of capability.
        end: u16,
    },
    /// Two capabilities share bytes.
    #[error("capability at {at:#x} overlaps another one")]
    CapabilityOverlap {
        /// Offset of the second one.
        at: u16,
    },
    /// The first extended capability does not sit at 0x100, where every guest looks for it.
    #[error("the first extended capability must be at 0x100, not {at:#x}")]
    FirstExtended {
        /// Offset that was asked for.
        at: u16,
    },
    /// A BAR of a size that its kind cannot have.
    #[error("BAR size {size:#x}: must be a power of two from {min:#x} to {max:#x}")]
    BarSize {
        /// Size that was asked for, in bytes.
        size: u64,
        /// Smallest size of this kind.
        min: u64,
        /// Largest size of this kind.
        max: u64,
    },
    /// A BAR index that does not exist, is taken, or has no room for a 64-bit BAR.
    #[error("BAR{index} cannot hold this BAR: it is taken, or past the last register")]
    BarIndex {
        /// Index that was asked for.
        index: u8,
    },
    /// MSI-X table and pending bits that do not fit in their BAR, overlap, or have a vector count outside 1..=2048.
    #[error(
        "MSI-X layout: 1 to 2048 vectors, table and PBA 8-byte aligned, apart, inside memory BAR{bar}"
    )]
    MsixLayout {
        /// BAR that was to hold both.
        bar: u8,
    },
    /// A saved state that belongs to another function or is damaged.
    #[error("saved state does not fit this function")]
    SavedState,
}

/// A function that cannot be put at the place asked for, or a complex that cannot be laid out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BusError {
    /// There is a function at this place.
    #[error("slot {0} is in use")]
    InUse(Slot),
    /// Function 0 must be there before the others (PCI Local Bus 3.0, section 3.2.2.3.4).
    #[error("device {0:#x} has no function 0 yet")]
    NoFunctionZero(u8),
    /// Only device 0 can answer at the far end of a PCI Express link.
    #[error("slot {0}: only device 0 exists behind a root port")]
    BehindPort(Slot),
    /// No such bus in this complex.
    #[error("no such bus")]
    NoBus,
    /// No function at this place.
    #[error("slot {0} is empty")]
    Empty(Slot),
    /// All 32 devices, or all bus numbers of the configuration window, are taken.
    #[error("no free device or bus number")]
    Full,
    /// An address window is empty, wraps, or is not where its kind must be.
    #[error("window {0}: must not be empty or wrap, and MMIO32 must end below 4 GiB")]
    Window(&'static str),
    /// No room for a BAR or a bridge window.
    #[error("no room for {size:#x} bytes in the {window} window")]
    NoRoom {
        /// Which window.
        window: &'static str,
        /// How much was needed, in bytes.
        size: u64,
    },
}
