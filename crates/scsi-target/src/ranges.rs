//! UNMAP and WRITE SAME of zeroes: ranges, one after another.

use guest_io::block::Channel;
use guest_io::{FileRange, MemoryGuard, SubmitError, Submitted};

use crate::command::Extent;
use crate::medium::Medium;
use crate::vital::MAX_UNMAP_DESCRIPTORS;
use crate::{Sense, Setup};

/// What is done to some ranges, and how far that has got.
#[derive(Debug)]
pub(crate) struct Ranges {
    list: Vec<FileRange>,
    next: usize,
    kind: RangeKind,
    /// When all is done, data has to be made durable.
    sync: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RangeKind {
    Discard,
    Zero { may_unmap: bool },
}

impl Ranges {
    pub(crate) fn new(list: Vec<FileRange>, kind: RangeKind, sync: bool) -> Self {
        Self {
            list,
            next: 0,
            kind,
            sync,
        }
    }

    /// Starts what is next. `None` if everything is done.
    pub(crate) fn next<G: MemoryGuard>(
        &mut self,
        token: u64,
        channel: &mut impl Channel<G>,
    ) -> Option<Result<Submitted, SubmitError>> {
        let Some(&range) = self.list.get(self.next) else {
            let sync = std::mem::take(&mut self.sync);
            return sync.then(|| channel.sync_data(token));
        };
        self.next += 1;
        Some(match self.kind {
            RangeKind::Discard => channel.discard(token, range),
            RangeKind::Zero { may_unmap } => channel.write_zeroes(token, range, may_unmap),
        })
    }
}

/// The ranges of an UNMAP parameter list (SBC-3 section 5.28), all of them checked.
pub(crate) fn parse<B: guest_io::block::Backend>(
    list: &[u8],
    setup: &Setup,
    medium: &Medium<B>,
) -> Result<Vec<FileRange>, Sense> {
    if list.is_empty() {
        return Ok(Vec::new());
    }
    let (header, rest) = list.split_at_checked(8).ok_or(Sense::LIST_LENGTH)?;
    let len = match *header {
        [_, _, high, low, ..] => u16::from_be_bytes([high, low]).into(),
        _ => 0,
    };
    // A list that ends in the middle of a descriptor ends before it.
    let descriptors = rest.get(..len).ok_or(Sense::LIST_LENGTH)?.chunks_exact(16);
    if descriptors.len() > MAX_UNMAP_DESCRIPTORS.into() {
        return Err(Sense::INVALID_LIST);
    }
    let ranges = descriptors.map(|descriptor| medium.range(extent(descriptor)));
    let ranges = ranges.collect::<Result<Vec<_>, _>>()?;
    let total: u64 = ranges.iter().map(|range| range.len()).sum();
    match total <= setup.max_unmap {
        true => Ok(ranges),
        false => Err(Sense::INVALID_LIST),
    }
}

fn extent(descriptor: &[u8]) -> Extent {
    let lba = descriptor.first_chunk().copied().unwrap_or_default();
    let blocks = descriptor.get(8..).and_then(|rest| rest.first_chunk());
    Extent {
        lba: u64::from_be_bytes(lba),
        blocks: u32::from_be_bytes(blocks.copied().unwrap_or_default()),
    }
}
