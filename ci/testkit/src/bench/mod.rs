//! What benchmarks of devices share: a guest whose driver is as cheap as it can be, and contenders
//! that take turns.
//!
//! [`Guest`] has one queue of a device, whose worker it calls itself: everything is on one thread.
//! [`BlockReader`] is such a guest that reads blocks of a disk, by whichever [`Protocol`].
//! [`race`] is how contenders are compared.

mod blocks;
mod guest;
mod image;
mod race;

pub use blocks::{BLOCK, BlockReader, Protocol, VirtioBlk};
pub use guest::{Areas, Guest, Memory, RING};
pub use image::{BLOCKS, image, on_images};
pub use race::{Contender, Random, race};
