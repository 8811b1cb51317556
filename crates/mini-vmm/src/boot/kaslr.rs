//! Where a kernel goes: at random (KASLR), as the code before a compressed kernel has it.
//!
//! That code (Linux, arch/x86/boot/compressed/kaslr.c) chooses two addresses apart from each other: the
//! physical one among the free memory from the smaller of 512 MiB and the kernel's own address on, and
//! the virtual one in the GiB that the kernel's text has. Here the first stays in the 3 GiB below the
//! hole for devices, which are what is mapped one to one at the entry.

use std::io;

use super::random;
use crate::layout::Range;

/// What a kernel wants of its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    /// The physical address that it is linked for.
    pub(super) linked: u64,
    /// The memory that it takes until it knows of others, in bytes.
    pub(super) size: u64,
    /// What both addresses are a multiple of.
    pub(super) alignment: u64,
}

/// Where a kernel goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Physical address.
    pub(super) base: u64,
    /// How far above the virtual address that it is linked for it is mapped.
    pub(super) shift: u64,
    /// Whether it was chosen at random: the kernel then does the same with its other addresses.
    pub(super) random: bool,
}

impl Place {
    /// Where a kernel is linked for.
    pub(super) fn linked(base: u64) -> Self {
        Self {
            base,
            shift: 0,
            random: false,
        }
    }

    /// One of those that `wish` has in the `free` memory, unless `command_line` says `nokaslr`.
    ///
    /// # Errors
    /// A host without random numbers.
    pub(super) fn choose(wish: Wish, free: &[Range], command_line: &[u8]) -> io::Result<Self> {
        if words(command_line).any(|word| word == b"nokaslr") {
            return Ok(Self::linked(wish.linked));
        }
        let lowest = wish.linked.min(LOWEST);
        let slots = match words(command_line).any(limits_memory) {
            true => Slots::default(),
            false => Slots::of(wish, free.iter().map(|range| above(*range, lowest))),
        };
        let virtual_slots = Slots::of(wish, [above(TEXT, wish.linked)].into_iter());
        Ok(Self {
            base: slots.pick(random()?).unwrap_or(wish.linked),
            shift: virtual_slots.pick(random()?).unwrap_or(wish.linked) - wish.linked,
            random: true,
        })
    }
}

/// Addresses to choose from.
#[derive(Debug, Default)]
struct Slots {
    step: u64,
    /// First address and number.
    runs: Vec<(u64, u64)>,
}

impl Slots {
    fn of(wish: Wish, ranges: impl Iterator<Item = Range>) -> Self {
        let run = |range: Range| {
            let first = range.base.checked_next_multiple_of(wish.alignment)?;
            let room = range.end().checked_sub(first)?.checked_sub(wish.size)?;
            Some((first, room / wish.alignment + 1))
        };
        Self {
            step: wish.alignment,
            runs: ranges.filter_map(run).collect(),
        }
    }

    /// The one that `random` stands for, all being equally likely.
    fn pick(&self, random: u64) -> Option<u64> {
        let count = self.runs.iter().map(|(_, count)| count).sum();
        let mut index = random.checked_rem(count)?;
        for (first, count) in &self.runs {
            match index.checked_sub(*count) {
                Some(left) => index = left,
                None => return Some(first + index * self.step),
            }
        }
        None
    }
}

fn above(range: Range, lowest: u64) -> Range {
    let base = range.base.max(lowest).min(range.end());
    Range {
        base,
        size: range.end() - base,
    }
}

/// The words of a command line, as that code tells them apart: quotes mean nothing.
fn words(command_line: &[u8]) -> impl Iterator<Item = &[u8]> {
    command_line.split(|byte| *byte <= b' ')
}

/// Whether a word of the command line says which memory the kernel may use. Rather than to follow all of
/// these, the kernel stays where it is linked for, as it does for some of them by itself.
fn limits_memory(word: &[u8]) -> bool {
    let names: [&[u8]; 3] = [b"mem=", b"memmap=", b"hugepages"];
    names.iter().any(|name| word.starts_with(name))
}

/// Lowest physical address, whatever the kernel is linked for.
const LOWEST: u64 = 512 << 20;
/// Where the kernel's text is mapped, from the virtual address on that physical address 0 is linked for.
const TEXT: Range = Range {
    base: 0,
    size: 1 << 30,
};

#[cfg(test)]
#[path = "kaslr_tests.rs"]
mod tests;
