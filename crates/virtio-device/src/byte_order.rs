//! The order of the bytes of numbers that driver and device share.

/// Which byte of a number comes first: in rings, in the configuration space and in what a device's
/// requests are made of.
///
/// A modern driver's is little-endian. A legacy driver's is that of its CPU (the legacy interface
/// notes of sections 2.5 and 2.7), so that on a big-endian machine it is big-endian.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ByteOrder {
    /// The least significant byte.
    #[default]
    Little,
    /// The most significant byte.
    Big,
}

macro_rules! numbers {
    ($($number:ident, $read:ident, $write:ident, $len:literal;)*) => {
        impl ByteOrder {
            $(
                /// The number in these bytes.
                #[inline]
                pub const fn $read(self, bytes: [u8; $len]) -> $number {
                    match self {
                        Self::Little => $number::from_le_bytes(bytes),
                        Self::Big => $number::from_be_bytes(bytes),
                    }
                }

                /// The bytes of this number.
                #[inline]
                pub const fn $write(self, number: $number) -> [u8; $len] {
                    match self {
                        Self::Little => number.to_le_bytes(),
                        Self::Big => number.to_be_bytes(),
                    }
                }
            )*
        }
    };
}

numbers! {
    u16, u16, u16_bytes, 2;
    u32, u32, u32_bytes, 4;
    u64, u64, u64_bytes, 8;
}
