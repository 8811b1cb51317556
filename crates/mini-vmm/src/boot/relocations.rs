//! Relocations of a kernel, which follow its ELF image (CONFIG_RANDOMIZE_BASE).
//!
//! Each is a word with the low half of a virtual address in the kernel, where something is an address
//! as well. A zero begins a list; the lists are of addresses of 64 bits, of 32 bits that count backwards
//! (until Linux 6.15, for variables of each processor) and of 32 bits. None is zero itself, so that the
//! number of zeros tells whether there are two lists or three.

use std::io::{self, Read};

use vm_memory::{VolatileMemory, VolatileSlice};

use super::extent::Extent;
use crate::layout::Range;

/// A table of relocations that has been checked: all of them are in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Relocations {
    /// In the file.
    table: Range,
    lists: &'static [Kind],
    /// Physical addresses that the kernel is linked for.
    span: Range,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Long,
    Backwards,
    Word,
}

impl Relocations {
    /// What follows an image that ends at `end` and is linked for `span`, `None` where that is nothing.
    ///
    /// # Errors
    /// Where it is no table of relocations, or one that leads out of the kernel.
    pub(super) fn find(extent: &Extent, end: u64, span: Range) -> io::Result<Option<Self>> {
        let size = extent.size().saturating_sub(end);
        if size == 0 {
            return Ok(None);
        }
        if !size.is_multiple_of(WORD) {
            return Err(io::Error::other("it is cut short"));
        }
        let table = Range { base: end, size };
        let mut zeros = 0;
        words(extent, table, |word| {
            zeros += usize::from(word == 0);
            Ok(())
        })?;
        let mut lists = [OLD_LISTS, LISTS].into_iter();
        let lists = lists.find(|lists| lists.len() == zeros);
        let found = Self {
            table,
            lists: lists.ok_or_else(|| io::Error::other("it has too few or too many lists"))?,
            span,
        };
        found.each(extent, |_, _| Ok(()))?;
        Ok(Some(found))
    }

    /// Applies them to `image`, the kernel in memory, which is to be mapped `shift` bytes above where
    /// it is linked for.
    ///
    /// # Errors
    /// Those of a file that has changed since [`Relocations::find`].
    pub(super) fn apply(
        &self,
        extent: &Extent,
        image: &VolatileSlice<'_>,
        shift: u64,
    ) -> io::Result<()> {
        let low = shift as u32;
        self.each(extent, |kind, at| match kind {
            Kind::Long => change::<u64>(image, at, |value| value.wrapping_add(shift)),
            Kind::Backwards => change::<u32>(image, at, |value| value.wrapping_sub(low)),
            Kind::Word => change::<u32>(image, at, |value| value.wrapping_add(low)),
        })
    }

    /// Calls `each` with every relocation, as an offset in the kernel.
    fn each(
        &self,
        extent: &Extent,
        mut each: impl FnMut(Kind, usize) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut lists = self.lists.iter();
        let mut list = None;
        words(extent, self.table, |word| {
            if word == 0 {
                list = lists.next();
                return Ok(());
            }
            let kind = *list.ok_or_else(|| io::Error::other("it begins in the middle"))?;
            let offset = u64::from(word.wrapping_sub(MAP)).checked_sub(self.span.base);
            let size = if kind == Kind::Long { 8 } else { 4 };
            match offset.filter(|offset| word >= MAP && offset + size <= self.span.size) {
                Some(offset) => each(kind, offset as usize),
                None => Err(io::Error::other("it leads out of the kernel")),
            }
        })
    }
}

fn words(
    extent: &Extent,
    table: Range,
    mut each: impl FnMut(u32) -> io::Result<()>,
) -> io::Result<()> {
    let mut reader = extent.reader(table.base, table.size)?;
    let mut word = [0; WORD as usize];
    for _ in 0..table.size / WORD {
        reader.read_exact(&mut word)?;
        each(u32::from_le_bytes(word))?;
    }
    Ok(())
}

fn change<T: vm_memory::ByteValued>(
    image: &VolatileSlice<'_>,
    at: usize,
    change: impl FnOnce(T) -> T,
) -> io::Result<()> {
    let place = image.get_ref::<T>(at).map_err(io::Error::other)?;
    place.store(change(place.load()));
    Ok(())
}

const WORD: u64 = 4;
/// Low half of the virtual address that physical address 0 is linked for.
const MAP: u32 = 0x8000_0000;
const OLD_LISTS: &[Kind] = &[Kind::Long, Kind::Backwards, Kind::Word];
const LISTS: &[Kind] = &[Kind::Long, Kind::Word];

#[cfg(test)]
#[path = "relocations_tests.rs"]
mod tests;
