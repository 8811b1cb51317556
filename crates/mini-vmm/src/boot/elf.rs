//! ELF kernels: an x86-64 image that is entered at its physical entry point.

use std::io;

use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend};

use super::extent::Extent;
use super::relocations::Relocations;
use crate::layout::{self, Range};
use crate::memory::Memory;

/// An ELF image that has been checked: all of it that is loaded is in the file, and between the
/// addresses of [`Elf::span`].
#[derive(Debug)]
pub(super) struct Elf {
    extent: Extent,
    segments: Vec<Segment>,
    entry: u64,
    span: Range,
    relocations: Option<Relocations>,
}

/// A PT_LOAD segment.
#[derive(Clone, Copy, Debug)]
struct Segment {
    /// Of its contents, in the file.
    offset: u64,
    /// Of its contents. Zeros follow.
    filled: u64,
    /// Physical addresses that it is linked for.
    range: Range,
}

impl Elf {
    /// Looks at the image in `extent`.
    ///
    /// # Errors
    /// What is no such image, in words for the user.
    pub(super) fn parse(extent: Extent) -> Result<Self, Unfit> {
        let header: [u8; HEADER] = read(&extent, 0)?;
        if header[..IDENT.len()] != IDENT || half(&header, 0x12) != X86_64 {
            return Err(Unfit("not an ELF image for x86-64"));
        }
        if usize::from(half(&header, 0x36)) != PROGRAM_HEADER {
            return Err(Unfit("an ELF image with program headers of another size"));
        }
        let headers = Table {
            start: long(&header, 0x20),
            entry: PROGRAM_HEADER as u64,
            count: half(&header, 0x38).into(),
        };
        let sections = Table {
            start: long(&header, 0x28),
            entry: half(&header, 0x3a).into(),
            count: half(&header, 0x3c).into(),
        };
        let segments = segments(&extent, &headers)?;
        let span = span(&segments).ok_or(Unfit("an ELF image without segments"))?;
        if span.base < layout::KERNEL_BASE {
            return Err(Unfit("an ELF image for memory below 1 MiB"));
        }
        let entry = long(&header, 0x18);
        if entry < span.base || entry >= span.end() {
            return Err(Unfit("an ELF image that is entered outside of itself"));
        }
        let last = segments
            .iter()
            .map(|segment| segment.offset + segment.filled);
        let ends = [headers.end(), sections.end()].into_iter().flatten();
        let end = last.chain(ends).max().unwrap_or(0);
        let relocations = Relocations::find(&extent, end, span).unwrap_or_else(|why| {
            log::debug!("no relocations after the kernel: {why}");
            None
        });
        Ok(Self {
            extent,
            segments,
            entry,
            span,
            relocations,
        })
    }

    /// The physical addresses that it is linked for.
    pub(super) fn span(&self) -> Range {
        self.span
    }

    /// Whether it can be elsewhere than where it is linked for.
    pub(super) fn is_relocatable(&self) -> bool {
        self.relocations.is_some()
    }

    /// Loads it at the physical address `base`, relocated to be mapped `shift` bytes above where it
    /// is linked for, and returns its entry point.
    ///
    /// # Errors
    /// Those of the file, and of memory that ends too early.
    pub(super) fn load(&self, memory: &Memory, base: u64, shift: u64) -> io::Result<GuestAddress> {
        let address = |linked: u64| base + (linked - self.span.base);
        for segment in &self.segments {
            let start = address(segment.range.base);
            let contents = (segment.offset, segment.filled);
            self.extent.load(contents, memory, start)?;
            let zeros = segment.range.size - segment.filled;
            zero(memory, start + segment.filled, zeros)?;
        }
        if let Some(relocations) = self.relocations.as_ref().filter(|_| shift != 0) {
            let size = usize::try_from(self.span.size).map_err(io::Error::other)?;
            let image = memory.get_slice(GuestAddress(base), size);
            let image = image.map_err(io::Error::other)?;
            relocations.apply(&self.extent, &image, shift)?;
        }
        Ok(GuestAddress(address(self.entry)))
    }
}

/// Why a file is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unfit(pub(super) &'static str);

/// Headers of one kind in the file.
struct Table {
    start: u64,
    entry: u64,
    count: u64,
}

impl Table {
    fn end(&self) -> Option<u64> {
        self.start.checked_add(self.entry * self.count)
    }
}

fn segments(extent: &Extent, headers: &Table) -> Result<Vec<Segment>, Unfit> {
    let mut segments = Vec::new();
    for index in 0..headers.count {
        let offset = headers.start.checked_add(index * headers.entry);
        let header: [u8; PROGRAM_HEADER] = read(extent, offset.unwrap_or(u64::MAX))?;
        if word(&header, 0) == PT_LOAD {
            segments.push(segment(&header, extent.size()).ok_or(BAD_SEGMENT)?);
        }
        if segments.len() > MOST_SEGMENTS {
            return Err(Unfit("an ELF image with too many segments"));
        }
    }
    Ok(segments)
}

/// `None` where it is not in the file, not in memory, or larger in the file than in memory.
fn segment(header: &[u8; PROGRAM_HEADER], file: u64) -> Option<Segment> {
    let (offset, filled) = (long(header, 0x08), long(header, 0x20));
    let (base, size) = (long(header, 0x18), long(header, 0x28));
    let in_file = offset.checked_add(filled).is_some_and(|end| end <= file);
    let end = base
        .checked_add(size)
        .filter(|end| *end <= layout::LOW_RAM.size);
    let range = Range { base, size };
    (in_file && filled <= size && end.is_some()).then_some(Segment {
        offset,
        filled,
        range,
    })
}

fn span(segments: &[Segment]) -> Option<Range> {
    let base = segments.iter().map(|segment| segment.range.base).min()?;
    let end = segments.iter().map(|segment| segment.range.end()).max()?;
    let size = end - base;
    (size > 0).then_some(Range { base, size })
}

fn zero(memory: &Memory, start: u64, size: u64) -> io::Result<()> {
    let piece = [0; ZEROS];
    for offset in (0..size).step_by(ZEROS) {
        let left = usize::try_from(size - offset).unwrap_or(ZEROS);
        let piece = piece.get(..left).unwrap_or(&piece);
        let written = memory.write_slice(piece, GuestAddress(start + offset));
        written.map_err(io::Error::other)?;
    }
    Ok(())
}

fn read<const N: usize>(extent: &Extent, offset: u64) -> Result<[u8; N], Unfit> {
    let mut bytes = [0; N];
    let read = extent.read_exact_at(&mut bytes, offset);
    read.map_err(|_| Unfit("an ELF image that is cut short"))?;
    Ok(bytes)
}

fn half(bytes: &[u8], offset: usize) -> u16 {
    u16::from_le_bytes(field(bytes, offset))
}

fn word(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(field(bytes, offset))
}

fn long(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(field(bytes, offset))
}

/// Offsets are those of the format, within headers that are whole.
fn field<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    let field = bytes.get(offset..).and_then(<[u8]>::first_chunk);
    field.copied().unwrap_or([0; N])
}

/// Magic number, 64 bits, little-endian, version 1.
pub(super) const IDENT: [u8; 7] = *b"\x7fELF\x02\x01\x01";
const BAD_SEGMENT: Unfit = Unfit("an ELF image with a segment out of bounds");
const X86_64: u16 = 62;
const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
const PT_LOAD: u32 = 1;
/// Kernels have three or four.
const MOST_SEGMENTS: usize = 32;
/// Bytes that are zeroed at a time.
const ZEROS: usize = 16 << 10;

#[cfg(test)]
#[path = "elf_tests.rs"]
mod tests;
