//! Everything that a driver can do wrong in a ring: one case each.

use virtio_device::{AddressSpace, Features, RingConfig, RingFormat};

use crate::descriptor::{INDIRECT, NEXT, RawDescriptor, WRITE};
use crate::{DriverQueue, DriverRing, END};

/// A violation of the ring rules (sections 2.7 and 2.8) that a device can detect for certain, and
/// must answer with DEVICE_NEEDS_RESET.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Split: a head past the descriptor table.
    HeadOutOfRange,
    /// Split: a `next` past the descriptor table.
    NextOutOfRange,
    /// Split: a descriptor that follows itself.
    SelfLoop,
    /// Split: two descriptors that follow each other.
    Cycle,
    /// Split: the available index ahead by more than the queue size.
    IndexAhead,
    /// Split: the available index went backwards.
    IndexBehind,
    /// Packed: a chain without an end in the whole ring.
    EndlessChain,
    /// A device-readable descriptor after a device-writable one.
    ReadableAfterWritable,
    /// A buffer that wraps around the address space.
    BufferWraps,
    /// An indirect descriptor that was not negotiated.
    IndirectNotNegotiated,
    /// INDIRECT together with NEXT.
    IndirectWithNext,
    /// An indirect descriptor in an indirect table.
    IndirectNested,
    /// An indirect table of no bytes.
    IndirectEmpty,
    /// An indirect table whose length is no multiple of 16.
    IndirectLength,
    /// An indirect table outside guest memory.
    IndirectOutside,
    /// An indirect table that wraps around the address space.
    IndirectWraps,
    /// An indirect table of more descriptors than the queue has.
    IndirectTooLong,
    /// Split: a loop within an indirect table.
    IndirectLoop,
    /// Split: a `next` past the end of its indirect table.
    IndirectNextOutOfRange,
}

impl Malformed {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::HeadOutOfRange,
        Self::NextOutOfRange,
        Self::SelfLoop,
        Self::Cycle,
        Self::IndexAhead,
        Self::IndexBehind,
        Self::EndlessChain,
        Self::ReadableAfterWritable,
        Self::BufferWraps,
        Self::IndirectNotNegotiated,
        Self::IndirectWithNext,
        Self::IndirectNested,
        Self::IndirectEmpty,
        Self::IndirectLength,
        Self::IndirectOutside,
        Self::IndirectWraps,
        Self::IndirectTooLong,
        Self::IndirectLoop,
        Self::IndirectNextOutOfRange,
    ];

    /// Whether it can be done to a queue like this.
    pub fn applies(self, config: &RingConfig) -> bool {
        let split = config.format() == RingFormat::Split;
        let indirect = config.features.contains(Features::INDIRECT_DESC);
        let two = config.size.get() >= 2;
        match self {
            Self::HeadOutOfRange
            | Self::NextOutOfRange
            | Self::SelfLoop
            | Self::IndexAhead
            | Self::IndexBehind => split,
            Self::Cycle => split && two,
            Self::EndlessChain => !split,
            Self::ReadableAfterWritable => two,
            Self::BufferWraps => true,
            Self::IndirectNotNegotiated => !indirect,
            Self::IndirectWithNext => indirect && two,
            Self::IndirectNested
            | Self::IndirectEmpty
            | Self::IndirectLength
            | Self::IndirectOutside
            | Self::IndirectWraps
            | Self::IndirectTooLong => indirect,
            Self::IndirectLoop | Self::IndirectNextOutOfRange => indirect && split,
        }
    }

    /// Does it to a fresh queue, which is good for nothing else afterwards.
    pub fn forge<AS: AddressSpace>(self, queue: &mut DriverQueue<AS>) {
        let size = queue.config().size.get();
        match self {
            Self::HeadOutOfRange => with_split(queue, |ring| {
                ring.push_head(size);
                ring.set_avail_idx(1);
            }),
            Self::IndexAhead => with_split(queue, |ring| ring.set_avail_idx(size + 1)),
            Self::IndexBehind => with_split(queue, |ring| ring.set_avail_idx(u16::MAX)),
            _ => {
                let chain = self.chain(queue);
                queue.forge(&chain);
            }
        }
    }

    /// The descriptors in the ring.
    fn chain<AS: AddressSpace>(self, queue: &DriverQueue<AS>) -> Vec<RawDescriptor> {
        let size = queue.config().size.get();
        match self {
            Self::NextOutOfRange => vec![descriptor(16, NEXT, size)],
            Self::SelfLoop => vec![descriptor(16, NEXT, 0)],
            Self::Cycle => vec![descriptor(16, NEXT, 1), descriptor(16, NEXT, 0)],
            Self::EndlessChain => vec![descriptor(16, NEXT, 0); size.into()],
            Self::ReadableAfterWritable => {
                vec![descriptor(16, WRITE | NEXT, 1), descriptor(16, 0, 0)]
            }
            Self::BufferWraps => vec![at(u64::MAX - 4, descriptor(16, WRITE, 0))],
            Self::IndirectWithNext => {
                let table = self.table(queue);
                vec![
                    at(table.0, descriptor(16, INDIRECT | NEXT, 1)),
                    descriptor(16, 0, 0),
                ]
            }
            _ => {
                let (address, len) = self.table(queue);
                vec![at(address, descriptor(len, INDIRECT, 0))]
            }
        }
    }

    /// Where the indirect table is, and how long it claims to be.
    fn table<AS: AddressSpace>(self, queue: &DriverQueue<AS>) -> (u64, u32) {
        let size = queue.config().size.get();
        let entries = match self {
            Self::IndirectNested => vec![descriptor(16, INDIRECT, 0)],
            Self::IndirectTooLong => (0..=size)
                .map(|i| descriptor(1, if i < size { NEXT } else { 0 }, i + 1))
                .map(|entry| packed_entry(queue, entry))
                .collect(),
            Self::IndirectLoop => vec![descriptor(16, NEXT, 0)],
            Self::IndirectNextOutOfRange => vec![descriptor(16, NEXT, 1)],
            _ => vec![descriptor(16, 0, 0)],
        };
        let (address, len) = queue.write_table(&entries);
        match self {
            Self::IndirectEmpty => (address, 0),
            Self::IndirectLength => (address, 17),
            Self::IndirectOutside => (END - 8, 16),
            Self::IndirectWraps => (u64::MAX - 7, 16),
            _ => (address, len as u32),
        }
    }
}

fn with_split<AS: AddressSpace>(
    queue: &mut DriverQueue<AS>,
    forge: impl FnOnce(&mut crate::SplitDriver<AS>),
) {
    if let DriverRing::Split(ring) = queue.ring_mut() {
        forge(ring);
    }
}

/// A packed table has neither NEXT nor `next`.
fn packed_entry<AS: AddressSpace>(queue: &DriverQueue<AS>, entry: RawDescriptor) -> RawDescriptor {
    match queue.config().format() {
        RingFormat::Split => entry,
        RingFormat::Packed => RawDescriptor {
            flags: entry.flags & !NEXT,
            next: 0,
            ..entry
        },
    }
}

fn descriptor(len: u32, flags: u16, next: u16) -> RawDescriptor {
    RawDescriptor {
        address: 0,
        len,
        flags,
        next,
    }
}

fn at(address: u64, descriptor: RawDescriptor) -> RawDescriptor {
    RawDescriptor {
        address,
        ..descriptor
    }
}
