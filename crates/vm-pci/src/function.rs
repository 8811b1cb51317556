//! What a bus, a vfio-user server or a test sees of a PCI function.

use crate::address::IoAddr;
use crate::bar::{BarMap, Bars};
use crate::config::ConfigSize;
use crate::header::Identity;

/// A PCI function, BAR-relative: it knows neither its bus nor who delivers accesses to it.
///
/// Implemented by devices, commonly around a [`FunctionCore`](crate::FunctionCore), and called by
/// [`RootComplex`](crate::RootComplex) or any other owner of functions. Every method may be called
/// from several threads at once, with any offset and length a guest can make: an implementation
/// answers what it does not know with ones, ignores such writes, and never panics.
pub trait PciFunction: Send + Sync {
    /// What the function is; constant for its lifetime.
    fn info(&self) -> FunctionInfo;

    /// Reads configuration space.
    fn read_config(&self, offset: u16, data: &mut [u8]);

    /// Writes configuration space. The caller carries out the effects, after dropping its own locks.
    fn write_config(&self, offset: u16, data: &[u8]) -> Effects;

    /// What the BARs decode at this moment, by the function's own registers.
    fn decode(&self) -> BarMap;

    /// Reads from a BAR. `offset + data.len()` is within the BAR when a bus calls.
    fn read_bar(&self, bar: u8, offset: u64, data: &mut [u8]);

    /// Writes to a BAR. `offset + data.len()` is within the BAR when a bus calls.
    fn write_bar(&self, bar: u8, offset: u64, data: &[u8]);

    /// Tells where accesses to `bar` come from now: the place to register ioeventfds or map memory.
    ///
    /// `None` means that the guest cannot reach the BAR: decoding is off, or the address is outside
    /// every window or under another BAR. Called on changes only, with `None` between two places, one
    /// call at a time. Nothing of the bus may be called from here.
    fn bar_mapped(&self, bar: u8, at: Option<IoAddr>);

    /// Puts the function, configuration space included, into its state after power-on: on a function
    /// level reset, a bus reset, or return from D3hot. Must not wait for the guest.
    fn reset(&self);
}

/// What a function is, for those who lay out addresses or list devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FunctionInfo {
    /// Identifiers and class.
    pub identity: Identity,
    /// Size of configuration space.
    pub config_size: ConfigSize,
    /// Kinds and sizes of the BARs.
    pub bars: Bars,
    /// Number of MSI-X vectors, zero without MSI-X.
    pub vectors: u16,
}

/// What a configuration write asks of the one who delivered it.
#[must_use = "the deliverer of a configuration write carries out its effects"]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// [`PciFunction::decode`], or a bridge's windows and bus numbers, give another answer now.
    pub decode: bool,
    /// Call [`PciFunction::reset`].
    pub reset: bool,
    /// A bridge only: reset every function behind it.
    pub secondary_reset: bool,
    /// A port only: take every function behind it out, the guest has let go of them.
    pub eject: bool,
}

impl Effects {
    /// Nothing to do.
    pub const NONE: Self = Self {
        decode: false,
        reset: false,
        secondary_reset: false,
        eject: false,
    };
}
