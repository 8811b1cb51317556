//! Descriptors of both formats, and tables of them.

use std::sync::atomic::Ordering;

use guest_io::{Area, Array};
use vm_memory::bitmap::{BS, BitmapSlice};
use vm_memory::{Bytes, GuestAddress, GuestMemory};

use crate::wrap::Wrap;
use crate::{Buffer, GuestView, QueueError};

/// A descriptor, copied out of guest memory.
///
/// Both formats have address, length, flags and one field more, of which the last two lie one way
/// round in a split ring and the other in a packed one: the flags are the 16 bits from bit `FLAGS`
/// of the second word on, [`SPLIT`] or [`PACKED`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Descriptor<const FLAGS: u32> {
    address: u64,
    /// Kept whole: to take out a bit or two when they are wanted is cheaper than to unpack.
    rest: u64,
}

/// `struct virtq_desc` (section 2.7.5): address, length, flags, next.
pub(crate) const SPLIT: u32 = 32;
/// `struct pvirtq_desc` (section 2.8.13): address, length, id, flags.
pub(crate) const PACKED: u32 = 48;

impl<const FLAGS: u32> Descriptor<FLAGS> {
    /// Entry `index` of `table`; `None` past its end. Length, flags and the other field are one
    /// load, so that they belong together; the address is loaded after them.
    #[inline(always)]
    pub(crate) fn load<B: BitmapSlice>(
        table: &Array<'_, B, u64, 2>,
        index: u32,
        order: Ordering,
    ) -> Option<Self> {
        table.load(index, order).map(Self::from_words)
    }

    #[inline(always)]
    pub(crate) fn from_words([address, rest]: [u64; 2]) -> Self {
        Self {
            address: u64::from_le(address),
            rest: u64::from_le(rest),
        }
    }

    #[inline(always)]
    pub(crate) fn has(self, flag: u16) -> bool {
        self.rest & u64::from(flag) << FLAGS != 0
    }

    #[inline(always)]
    pub(crate) fn buffer(self) -> Buffer {
        Buffer {
            address: self.address,
            len: self.rest as u32,
        }
    }
}

impl Descriptor<SPLIT> {
    /// As it was meant, where it was loaded from a big-endian ring.
    #[inline(always)]
    pub(crate) fn turned(self) -> Self {
        let rest = self.rest.swap_bytes();
        let (len, flags, next) = (rest >> 32, rest >> 16 & 0xffff, rest & 0xffff);
        Self {
            address: self.address.swap_bytes(),
            rest: len | flags << 32 | next << 48,
        }
    }

    /// Index of the descriptor that goes on the chain, where NEXT is set.
    #[inline(always)]
    pub(crate) fn next(self) -> u32 {
        (self.rest >> 48) as u32
    }
}

impl Descriptor<PACKED> {
    /// Whether its flags make it available to a device whose wrap counter for that is `wrap`.
    #[inline(always)]
    pub(crate) fn is_available(self, wrap: Wrap) -> bool {
        wrap.is_available(self.rest)
    }

    /// Buffer id.
    #[inline(always)]
    pub(crate) fn id(self) -> u16 {
        (self.rest >> 32) as u16
    }
}

/// Entry `index` of a resolved table.
#[inline(always)]
pub(crate) fn entry<B: BitmapSlice, const FLAGS: u32>(
    table: &Array<'_, B, u64, 2>,
    index: u32,
) -> Result<Descriptor<FLAGS>, QueueError> {
    Descriptor::load(table, index, Ordering::Relaxed).ok_or_else(|| outside(table.len(), index))
}

/// A resolved descriptor table, or descriptor ring.
pub(crate) type Table<'a, M> = Array<'a, BS<'a, <M as GuestMemory>::Bitmap>, u64, 2>;

/// Where an indirect descriptor table lies (sections 2.7.5.3 and 2.8.7).
#[derive(Clone, Copy, Debug)]
pub(crate) struct IndirectTable {
    address: u64,
    /// Number of descriptors.
    len: u32,
}

impl IndirectTable {
    /// The table that `descriptor` names, with what makes it malformed refused.
    #[inline(always)]
    pub(crate) fn named_by<const FLAGS: u32>(
        descriptor: Descriptor<FLAGS>,
        negotiated: bool,
    ) -> Result<Self, QueueError> {
        let Buffer { address, len } = descriptor.buffer();
        if !negotiated || descriptor.has(NEXT) || len == 0 || len % DESCRIPTOR != 0 {
            return Err(QueueError::Indirect);
        }
        address.checked_add(len.into()).ok_or(QueueError::Wrap)?;
        let len = len / DESCRIPTOR;
        Ok(Self { address, len })
    }

    /// Number of descriptors in the table.
    #[inline(always)]
    pub(crate) fn len(self) -> u32 {
        self.len
    }

    /// The table itself, if it is aligned and in one piece of host memory. It need not be; most are.
    #[inline(always)]
    pub(crate) fn resolve<'a, M: GuestMemory>(
        self,
        view: &mut GuestView<'a, M>,
    ) -> Option<Table<'a, M>> {
        let slice = view.slice(self.address, self.len * DESCRIPTOR).ok()?;
        Area::<_, 8>::new(&slice)?.array(0, self.len)
    }

    /// A descriptor of the table, whether it is that or not.
    #[cold]
    pub(crate) fn descriptor<M: GuestMemory, const FLAGS: u32>(
        self,
        memory: &M,
        index: u32,
    ) -> Result<Descriptor<FLAGS>, QueueError> {
        if index >= self.len {
            return Err(outside(self.len, index));
        }
        let mut bytes = [0; DESCRIPTOR as usize];
        let at = self.address + u64::from(DESCRIPTOR) * u64::from(index);
        memory
            .read_slice(&mut bytes, GuestAddress(at))
            .map_err(|_| QueueError::IndirectMemory)?;
        let word = |at| u64::from_ne_bytes(std::array::from_fn(|i| bytes[at + i]));
        Ok(Descriptor::from_words([word(0), word(8)]))
    }
}

/// The error for an index past a table of `len` descriptors.
#[cold]
pub(crate) fn outside(len: u32, index: u32) -> QueueError {
    QueueError::DescriptorIndex {
        index: index as u16,
        size: len.try_into().unwrap_or(u16::MAX),
    }
}

pub(crate) const NEXT: u16 = 1;
pub(crate) const WRITE: u16 = 2;
pub(crate) const INDIRECT: u16 = 4;
/// Size of a descriptor in bytes, in either format.
pub(crate) const DESCRIPTOR: u32 = 16;
