//! What frames are treated by.

use virtio_device::{ByteOrder, DeviceHost};

use crate::hash::{Hash, hash};
use crate::header::{HEADER, Header};
use crate::negotiated::Negotiated;
use crate::rules::Rules;
use crate::{Facts, features as f, filter, flow};

/// What frames are treated by, for the length of a batch.
#[derive(Clone, Copy)]
pub(crate) struct Terms<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) negotiated: &'a Negotiated,
    pub(crate) facts: Facts,
    pub(crate) link: bool,
    /// 0 for none.
    pub(crate) mtu: u16,
    pub(crate) host: &'a dyn DeviceHost,
}

impl Terms<'_> {
    /// Length of the frame in what a line has given, if it is one.
    #[inline]
    pub(crate) fn frame(&self, len: usize) -> Option<usize> {
        let header = if self.facts.header { HEADER } else { 0 };
        len.checked_sub(header)
            .filter(|&len| len > 0 && len <= LONGEST)
    }

    /// Bytes that a frame takes which is not segmented, with the driver's header: no more than the
    /// mergeable buffers have that Linux makes, so that one is enough.
    #[inline]
    pub(crate) fn short(&self) -> u64 {
        u64::from(self.negotiated.header_len) + SHORT
    }

    /// How much of a frame has to be looked at.
    #[inline]
    pub(crate) fn looks_at(&self) -> usize {
        let hashed = self.rules.steering.hash.is_some();
        let looked = match (hashed, self.rules.filter.is_open() && self.mtu == 0) {
            (true, _) => flow::LOOKS_AT,
            (false, false) => filter::LOOKS_AT,
            (false, true) => 0,
        };
        looked as usize
    }

    /// Whether the driver gets a frame of `len` bytes that begins with `start`, with which header and
    /// hash.
    #[inline]
    pub(crate) fn admit(
        &self,
        head: [u8; HEADER],
        start: &[u8],
        len: usize,
    ) -> Option<(Header, Option<Hash>)> {
        let taken = self.rules.taken.unwrap_or_default();
        let header = Header::parse(head, ByteOrder::Little).for_driver(taken)?;
        let fits = self.mtu == 0
            || !self.negotiated.has(f::MTU)
            || !header.is_one_frame()
            || len <= usize::from(self.mtu) + link_header(start);
        let wanted = self.link && fits && self.rules.filter.passes(start, self.negotiated);
        wanted.then(|| (header, self.hash(start)))
    }

    #[inline]
    pub(crate) fn hash(&self, start: &[u8]) -> Option<Hash> {
        let rules = self.rules.steering.hash?;
        hash(start, rules.types, &rules.key)
    }
}

/// Bytes of a frame before what its MTU counts.
fn link_header(start: &[u8]) -> usize {
    match start.get(12..14) {
        Some([0x81, 0x00]) => 18,
        _ => 14,
    }
}

/// Of a frame: 64 KiB and what goes before it.
pub(crate) const LONGEST: usize = 4096 + (64 << 10);
/// Of a frame that is not segmented: 1500 bytes after addresses, type and tag.
const SHORT: u64 = 1518;
