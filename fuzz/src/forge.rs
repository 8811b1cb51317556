//! Values that are worth trying: edges more often than others.

use arbitrary::{Arbitrary, Result, Unstructured};
use testkit::{BOUNDARY, END, INDIRECT, NEXT, Ram, RawDescriptor, Segment, Space, WRITE};

/// A guest address.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) enum Place {
    /// In the first pages, where a driver has its rings.
    Low(u16),
    /// Where two regions of memory touch.
    Boundary(i8),
    /// In the second region.
    High(u16),
    /// Where memory ends.
    End(i8),
    /// Where addresses end.
    Last(u8),
    /// Anywhere.
    Any(u64),
}

impl Place {
    pub(crate) fn address(self) -> u64 {
        match self {
            Self::Low(offset) => offset.into(),
            Self::Boundary(offset) => BOUNDARY.wrapping_add_signed(offset.into()),
            Self::High(offset) => BOUNDARY + 16 * u64::from(offset),
            Self::End(offset) => END.wrapping_add_signed(offset.into()),
            Self::Last(offset) => u64::MAX - u64::from(offset),
            Self::Any(address) => address,
        }
    }
}

/// A length of a buffer in bytes.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) enum Len {
    Tiny(u8),
    Sectors(u8),
    Some(u16),
    Huge(u16),
}

impl Len {
    pub(crate) fn bytes(self) -> u32 {
        match self {
            Self::Tiny(len) => u32::from(len) & 0x1f,
            Self::Sectors(n) => 512 * (u32::from(n) & 7),
            Self::Some(len) => len.into(),
            Self::Huge(less) => u32::MAX - u32::from(less),
        }
    }
}

/// A buffer that an honest driver might offer, were it not for its address.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) struct Buffer {
    place: Place,
    len: Len,
    writable: bool,
}

impl Buffer {
    pub(crate) fn segment(self) -> Segment {
        Segment {
            address: self.place.address(),
            // All of a chain must fit 32 bits, or it is malformed.
            len: self.len.bytes() & 0xff_ffff,
            writable: self.writable,
        }
    }
}

/// Readable ones first, as section 2.7.4.2 has it; none that wraps around.
pub(crate) fn segments(buffers: &Few<Buffer>) -> Vec<Segment> {
    let mut segments: Vec<_> = buffers.0.iter().map(|buffer| buffer.segment()).collect();
    segments.retain(|segment| segment.address.checked_add(segment.len.into()).is_some());
    segments.sort_by_key(|segment| segment.writable);
    segments
}

/// A descriptor, however wrong.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) struct Descriptor {
    place: Place,
    len: Len,
    flags: Flags,
    next: Next,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Flags {
    Usual(bool, bool),
    Indirect,
    Any(u16),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Next {
    Near(u8),
    Any(u16),
}

impl Descriptor {
    pub(crate) fn raw(self) -> RawDescriptor {
        let flag = |on, flag| if on { flag } else { 0 };
        RawDescriptor {
            address: self.place.address(),
            len: self.len.bytes(),
            flags: match self.flags {
                Flags::Usual(next, write) => flag(next, NEXT) | flag(write, WRITE),
                Flags::Indirect => INDIRECT,
                Flags::Any(flags) => flags,
            },
            next: match self.next {
                Next::Near(next) => u16::from(next) & 0xf,
                Next::Any(next) => next,
            },
        }
    }
}

/// Writes as far as there is memory.
pub(crate) fn scribble(ram: &Ram<Space>, address: u64, bytes: &[u8]) {
    for (offset, &byte) in (0..).zip(bytes) {
        if let Some(at) = address.checked_add(offset).filter(|&at| at < END) {
            ram.store(at, byte);
        }
    }
}

/// Up to seven of something.
#[derive(Clone, Debug)]
pub(crate) struct Few<T>(pub(crate) Vec<T>);

impl<'a, T: Arbitrary<'a>> Arbitrary<'a> for Few<T> {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let len = u.int_in_range(0..=7)?;
        (0..len)
            .map(|_| u.arbitrary())
            .collect::<Result<_>>()
            .map(Self)
    }
}

/// The steps that `data` spells out, up to so many that one input stays quick.
pub(crate) fn steps<'a, T: Arbitrary<'a>>(u: &mut Unstructured<'a>) -> Vec<T> {
    let mut steps = Vec::new();
    while !u.is_empty() && steps.len() < MAX_STEPS {
        steps.extend(u.arbitrary::<T>());
    }
    steps
}

const MAX_STEPS: usize = 256;
