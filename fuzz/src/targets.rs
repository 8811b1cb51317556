//! The targets.

pub use crate::balloon::balloon;
pub use crate::blk::blk;
pub use crate::ccw::ccw;
pub use crate::channel::channel_programs;
pub use crate::mmio::mmio;
pub use crate::net::net;
pub use crate::p9::p9;
pub use crate::pci::pci;
pub use crate::restore::restore;
pub use crate::ring::{packed_ring, split_ring};
pub use crate::rng::rng;
pub use crate::scsi::scsi;
pub use crate::serial::serial;

/// A target: what it does with an input.
pub type Target = fn(&[u8]);

/// Every target and its name.
pub const ALL: &[(&str, Target)] = &[
    ("split_ring", split_ring),
    ("packed_ring", packed_ring),
    ("balloon", balloon),
    ("blk", blk),
    ("net", net),
    ("rng", rng),
    ("scsi", scsi),
    ("serial", serial),
    ("p9", p9),
    ("pci", pci),
    ("mmio", mmio),
    ("ccw", ccw),
    ("channel_programs", channel_programs),
    ("restore", restore),
];
