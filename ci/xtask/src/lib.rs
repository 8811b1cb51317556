//! The commands of this project: `cargo xtask check | test | demo | bench | fuzz | lint | release-check`.
//!
//! A reader may start at [`cli`]. [`guest`] is the largest part: it boots stock Debian kernels,
//! on [`l1`] where the machine's own KVM cannot, and on s390x, which QEMU emulates.

pub mod bench;
pub mod cargo;
pub mod cli;
pub mod console;
pub mod cpio;
pub mod debian;
pub mod fuzz;
pub mod ground;
pub mod guest;
pub mod kernel;
pub mod l1;
pub mod lint;
pub mod process;
pub mod pulse;
pub mod qmp;
pub mod release;
pub mod report;
pub mod socket;
pub mod unit;
