//! What the fuzz targets do, as plain functions of bytes.
//!
//! Each of [`targets::ALL`] plays a guest (or, for `restore`, the sender of a saved state) as its
//! bytes say, and panics where the device breaks a promise: that nothing panics, that work ends,
//! that every chain is given back once with a length that was there, that a reset mends whatever
//! was done. `fuzz_targets/` hands them to libFuzzer, `tests/smoke.rs` to the stable compiler.

#![forbid(unsafe_code)]

pub mod stream;
pub mod targets;

mod backend;
mod balloon;
mod blk;
mod ccw;
mod channel;
mod device;
mod forge;
mod front;
mod mmio;
mod net;
mod p9;
mod pci;
mod restore;
mod ring;
mod ring_model;
mod rng;
mod scsi;
mod serial;
