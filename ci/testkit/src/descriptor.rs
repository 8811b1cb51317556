//! Descriptors as the driver writes them, well-formed or not.

use virtio_device::ByteOrder;

/// A buffer that the driver offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Guest address.
    pub address: u64,
    /// Length in bytes.
    pub len: u32,
    /// Whether the device writes it.
    pub writable: bool,
}

/// A descriptor of either format, field by field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RawDescriptor {
    /// Guest address.
    pub address: u64,
    /// Length in bytes.
    pub len: u32,
    /// [`NEXT`], [`WRITE`], [`INDIRECT`] and, in a packed ring, the availability bits.
    pub flags: u16,
    /// Split: index of the next descriptor. Packed: buffer id.
    pub next: u16,
}

impl RawDescriptor {
    /// What a well-formed chain has for `segment`, but for `next`.
    pub fn of(segment: Segment, last: bool) -> Self {
        Self {
            address: segment.address,
            len: segment.len,
            flags: if segment.writable { WRITE } else { 0 } | if last { 0 } else { NEXT },
            next: 0,
        }
    }

    /// The 16 bytes of a split descriptor (section 2.7.5).
    pub fn split(self, order: ByteOrder) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&order.u64_bytes(self.address));
        bytes[8..12].copy_from_slice(&order.u32_bytes(self.len));
        bytes[12..14].copy_from_slice(&order.u16_bytes(self.flags));
        bytes[14..].copy_from_slice(&order.u16_bytes(self.next));
        bytes
    }

    /// The 16 bytes of a packed descriptor (section 2.8.5).
    pub fn packed(self) -> [u8; 16] {
        let (flags, id) = (u64::from(self.flags), u64::from(self.next));
        let rest = u64::from(self.len) | id << 32 | flags << 48;
        (u128::from(self.address) | u128::from(rest) << 64).to_le_bytes()
    }
}

/// The chain goes on.
pub const NEXT: u16 = 1;
/// Device-writable.
pub const WRITE: u16 = 2;
/// An indirect table.
pub const INDIRECT: u16 = 4;
/// Packed: the driver's wrap counter when it made the descriptor available.
pub const AVAIL: u16 = 1 << 7;
/// Packed: the device's wrap counter when it used the descriptor.
pub const USED: u16 = 1 << 15;
