//! `struct virtio_net_hdr` (section 5.1.6): what comes before each frame.

use virtio_device::{ByteOrder, Features};

use crate::features as f;
use crate::negotiated::Negotiated;

/// Length in bytes of the header that a [`Line`](crate::Line) exchanges, if it exchanges one:
/// little-endian and with `num_buffers`, as a tap interface has it after `TUNSETVNETHDRSZ`.
pub const HEADER: usize = 12;

/// A header, apart from what only one direction has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) flags: u8,
    pub(crate) gso_type: u8,
    /// A hint; never relied on.
    pub(crate) hdr_len: u16,
    pub(crate) gso_size: u16,
    pub(crate) csum_start: u16,
    pub(crate) csum_offset: u16,
}

/// What the device says of a received frame besides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// Buffers that the frame fills.
    pub(crate) num_buffers: u16,
    pub(crate) hash_value: u32,
    pub(crate) hash_type: u16,
}

impl Header {
    /// The header in the first 10 of these bytes.
    #[inline]
    pub(crate) fn parse(bytes: [u8; HEADER], order: ByteOrder) -> Self {
        let [flags, gso_type, a, b, c, d, e, g, h, i, ..] = bytes;
        Self {
            flags,
            gso_type,
            hdr_len: order.u16([a, b]),
            gso_size: order.u16([c, d]),
            csum_start: order.u16([e, g]),
            csum_offset: order.u16([h, i]),
        }
    }

    /// Its bytes for a line.
    #[inline]
    pub(crate) fn to_line(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        self.encode(&mut bytes, ByteOrder::Little);
        bytes
    }

    /// Its bytes for a driver: `len` of them are valid.
    #[inline]
    pub(crate) fn to_driver(self, report: Report, order: ByteOrder) -> [u8; MAX] {
        let mut bytes = [0; MAX];
        self.encode(&mut bytes, order);
        put(&mut bytes, 10, order.u16_bytes(report.num_buffers));
        put(&mut bytes, 12, order.u32_bytes(report.hash_value));
        put(&mut bytes, 16, order.u16_bytes(report.hash_type));
        bytes
    }

    /// The header of a frame that the driver sends, with what it may not say left out; `None`
    /// where the frame is of no use without that.
    #[inline]
    pub(crate) fn sent_by_driver(self, negotiated: &Negotiated) -> Option<Self> {
        let needs_csum = self.flags & NEEDS_CSUM != 0 && negotiated.has(f::CSUM);
        if !needs_csum {
            // Neither is a segment without a checksum to fill in one, nor are offsets to be used.
            return (self.gso_type & !ECN == GSO_NONE).then(Self::default);
        }
        let allowed = gso_features(self.gso_type, SENT)
            .is_some_and(|needed| needed.is_empty() || negotiated.any(needed));
        let ecn = self.gso_type & ECN == 0 || negotiated.has(f::HOST_ECN);
        (allowed && ecn).then_some(Self {
            flags: NEEDS_CSUM,
            ..self
        })
    }

    /// The header of a frame from a line, with what the driver cannot take left out; `None` where
    /// it cannot take the frame. The line was told what it can, but frames may have been on
    /// their way.
    #[inline]
    pub(crate) fn for_driver(self, taken: Features) -> Option<Self> {
        let needed = gso_features(self.gso_type, RECEIVED)?;
        let takes_gso = needed.is_empty() || taken.intersects(needed);
        // ECN alone is no reason to lose a frame (section 5.1.6.4.1 has SHOULD).
        let takes_csum = self.flags & NEEDS_CSUM == 0 || taken.contains(f::GUEST_CSUM);
        let known = if taken.contains(f::GUEST_CSUM) {
            NEEDS_CSUM | DATA_VALID
        } else {
            0
        };
        (takes_gso && takes_csum).then_some(Self {
            flags: self.flags & known,
            ..self
        })
    }

    /// Whether the frame is one that MTU limits.
    pub(crate) fn is_one_frame(self) -> bool {
        self.gso_type & !ECN == GSO_NONE
    }

    #[inline]
    fn encode(self, bytes: &mut [u8], order: ByteOrder) {
        put(bytes, 0, [self.flags, self.gso_type]);
        put(bytes, 2, order.u16_bytes(self.hdr_len));
        put(bytes, 4, order.u16_bytes(self.gso_size));
        put(bytes, 6, order.u16_bytes(self.csum_start));
        put(bytes, 8, order.u16_bytes(self.csum_offset));
    }
}

/// Length in bytes of the header that the driver of `features` uses.
pub(crate) fn len(features: Features) -> u32 {
    if features.contains(f::HASH_REPORT) {
        MAX as u32
    } else if features.intersects(f::MRG_RXBUF | Features::VERSION_1) {
        HEADER as u32
    } else {
        LEGACY
    }
}

/// The features of which one is needed for a frame of this GSO type, none for a plain one; `None`
/// for types that are not known.
#[inline]
fn gso_features(gso_type: u8, by_type: [Features; 4]) -> Option<Features> {
    let [tcp4, tcp6, udp, udp_l4] = by_type;
    match gso_type & !ECN {
        GSO_NONE => Some(Features::NONE),
        GSO_TCPV4 => Some(tcp4),
        GSO_UDP => Some(udp),
        GSO_TCPV6 => Some(tcp6),
        GSO_UDP_L4 => Some(udp_l4),
        _ => None,
    }
}

fn put<const N: usize>(bytes: &mut [u8], at: usize, field: [u8; N]) {
    if let Some(place) = bytes.get_mut(at..at + N) {
        place.copy_from_slice(&field);
    }
}

/// Of the longest header: that with a hash.
pub(crate) const MAX: usize = 20;
/// Of a legacy driver without mergeable buffers.
const LEGACY: u32 = 10;
const NEEDS_CSUM: u8 = 1;
const DATA_VALID: u8 = 2;
const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_UDP: u8 = 3;
const GSO_TCPV6: u8 = 4;
const GSO_UDP_L4: u8 = 5;
const ECN: u8 = 0x80;
const SENT: [Features; 4] = [f::HOST_TSO4, f::HOST_TSO6, f::HOST_UFO, f::HOST_USO];
const RECEIVED: [Features; 4] = [
    f::GUEST_TSO4,
    f::GUEST_TSO6,
    f::GUEST_UFO,
    f::GUEST_USO4.with(f::GUEST_USO6),
];
