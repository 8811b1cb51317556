//! A command descriptor block (SPC-4 section 4.2).

use crate::Sense;

/// A command descriptor block, copied from the initiator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cdb {
    bytes: [u8; MAX],
}

impl Cdb {
    /// The block in `bytes`, of which those after the 32nd mean nothing here.
    ///
    /// # Errors
    /// INVALID FIELD IN CDB where the operation code promises more bytes than there are.
    pub fn new(bytes: &[u8]) -> Result<Self, Sense> {
        let mut cdb = Self { bytes: [0; MAX] };
        cdb.bytes
            .iter_mut()
            .zip(bytes)
            .for_each(|(to, from)| *to = *from);
        match cdb.promised() <= bytes.len() {
            true => Ok(cdb),
            false => Err(Sense::INVALID_CDB),
        }
    }

    /// OPERATION CODE.
    #[inline]
    pub fn opcode(&self) -> u8 {
        self.bytes[0]
    }

    /// CONTROL, whose place depends on the length.
    pub(crate) fn control(&self) -> u8 {
        match self.opcode() >> 5 {
            3 => self.u8(1),
            _ => self.u8(self.promised() - 1),
        }
    }

    #[inline]
    pub(crate) fn u8(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }

    /// Whether the bits of `mask` are set in byte `at`, any of them.
    pub(crate) fn has(&self, at: usize, mask: u8) -> bool {
        self.u8(at) & mask != 0
    }

    #[inline]
    pub(crate) fn u16(&self, at: usize) -> u16 {
        u16::from_be_bytes(self.array(at))
    }

    /// Three bytes.
    pub(crate) fn u24(&self, at: usize) -> u32 {
        let [a, b, c] = self.array(at);
        u32::from_be_bytes([0, a, b, c])
    }

    #[inline]
    pub(crate) fn u32(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.array(at))
    }

    #[inline]
    pub(crate) fn u64(&self, at: usize) -> u64 {
        u64::from_be_bytes(self.array(at))
    }

    #[inline]
    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        let bytes = self.bytes.get(at..).and_then(|tail| tail.first_chunk());
        bytes.copied().unwrap_or([0; N])
    }

    /// Bytes that a block of this operation code has (SPC-4 section 4.2.5.1).
    fn promised(&self) -> usize {
        match self.opcode() >> 5 {
            0 => 6,
            1 | 2 => 10,
            4 => 16,
            5 => 12,
            // Variable length, which nothing here has, and vendor specific.
            _ => 1,
        }
    }
}

/// What any command here has room in.
const MAX: usize = 32;
