//! The MSI-X table as the guest writes it: 16 bytes a vector (PCI Local Bus 3.0, section 6.8.2.6 ff.).

use crate::msix::MsiMessage;

/// Entries, and the mask that lies over all of them.
#[derive(Debug)]
pub(crate) struct Table {
    entries: Box<[u8]>,
    function_masked: bool,
}

impl Table {
    /// Every entry zero and masked, and MSI-X disabled.
    pub(crate) fn new(vectors: u16) -> Self {
        let mut entries = vec![0; usize::from(vectors) * ENTRY].into_boxed_slice();
        entries
            .iter_mut()
            .skip(VECTOR_CONTROL)
            .step_by(ENTRY)
            .for_each(|byte| *byte = MASKED);
        Self {
            entries,
            function_masked: true,
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.entries
    }

    pub(crate) fn byte(&self, at: usize) -> Option<u8> {
        self.entries.get(at).copied()
    }

    /// Stores a byte; of vector control only the mask bit exists, the low address bits are zero.
    pub(crate) fn write(&mut self, at: usize, value: u8) {
        let writable = match at % ENTRY {
            0 => 0xfc,
            VECTOR_CONTROL => MASKED,
            13..ENTRY => 0,
            _ => 0xff,
        };
        if let Some(byte) = self.entries.get_mut(at) {
            *byte = value & writable;
        }
    }

    /// Replaces all entries; false for bytes of another number of vectors.
    pub(crate) fn load(&mut self, bytes: &[u8]) -> bool {
        let fits = bytes.len() == self.entries.len();
        if fits {
            bytes
                .iter()
                .enumerate()
                .for_each(|(at, &value)| self.write(at, value));
        }
        fits
    }

    /// Sets the mask over all entries; whether it changed.
    pub(crate) fn set_function_mask(&mut self, masked: bool) -> bool {
        std::mem::replace(&mut self.function_masked, masked) != masked
    }

    /// Message of an entry, `None` while it is masked in either way.
    pub(crate) fn message(&self, entry: usize) -> Option<MsiMessage> {
        let from = entry.checked_mul(ENTRY)?;
        let bytes = self.entries.get(from..)?.first_chunk::<ENTRY>()?;
        let [a0, a1, a2, a3, a4, a5, a6, a7, d0, d1, d2, d3, control, ..] = *bytes;
        (!self.function_masked && control & MASKED == 0).then_some(MsiMessage {
            address: u64::from_le_bytes([a0, a1, a2, a3, a4, a5, a6, a7]),
            data: u32::from_le_bytes([d0, d1, d2, d3]),
        })
    }
}

/// Bytes of one entry.
pub(crate) const ENTRY: usize = 16;
const VECTOR_CONTROL: usize = 12;
const MASKED: u8 = 1;
