//! Guests: stock Debian kernels that run under a VMM and report what they see.
//!
//! The layers, bottom up: [`image`] makes kernel, initramfs and root file system; [`machine`]
//! describes one virtual machine and how each VMM is told about it; [`session`] is a guest that
//! runs; [`scenario`] is a test in data; [`suite`] runs scenarios, as many as possible in one boot.
//!
//! [`run`] is the half of it all on the machine of the user, [`within`] the half where KVM works
//! (see [`crate::ground`]); both are this program. Where that is an emulated machine there are two of them,
//! which share the boots: most of what happens in one is done by one processor. Guests on s390x run beside
//! them.

use anyhow::Result;

pub mod demo;
pub mod errand;
pub mod host_disk;
pub mod image;
pub mod machine;
pub mod qmp;
pub mod run;
pub mod s390x;
pub mod scenario;
pub mod scenarios;
pub mod session;
pub mod suite;
pub mod verdict;
pub mod within;

/// Gets the packages that guests of every kind need, and makes their images, unless they are there.
pub fn stock() -> Result<()> {
    run::images()?;
    s390x::images().map(drop)
}
