//! The kernel in a bzImage: compressed, behind the code that would unpack it.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;
use lzma_rust2::XzReader;
use ruzstd::decoding::StreamingDecoder;

use super::bzimage::BzImage;
use super::extent::Extent;
use crate::layout::Range;

/// A compressed kernel, in one of the formats that are known here.
pub(super) struct Payload<'a> {
    packed: Box<dyn Read + 'a>,
    /// Of what is unpacked, in bytes.
    size: u64,
}

impl<'a> Payload<'a> {
    /// What is in the bzImage `file`.
    ///
    /// # Errors
    /// Those of the file, a format that is not known, and more than the kernel says it takes.
    pub(super) fn find(file: &'a Extent, image: &BzImage) -> io::Result<Self> {
        let missing = || io::Error::other("it says nothing of its payload");
        let Range { base, size } = image.payload().ok_or_else(missing)?;
        let (tail, mut length) = (base + size - 4, [0; 4]);
        file.read_exact_at(&mut length, tail)?;
        let length = u64::from(u32::from_le_bytes(length));
        if length > image.init_size() {
            return Err(io::Error::other("it is larger than the kernel's memory"));
        }
        let mut packed = BufReader::new(file.reader(base, size)?);
        let packed: Box<dyn Read + 'a> = match packed.fill_buf()? {
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
                Box::new(XzReader::new_mem_limit(packed, false, MOST_MEMORY_KIB))
            }
            [0x28, 0xb5, 0x2f, 0xfd, ..] => {
                let limit = u64::from(MOST_MEMORY_KIB) << 10;
                let decoder = StreamingDecoder::new_with_max_window_size(packed, limit);
                Box::new(decoder.map_err(io::Error::other)?)
            }
            [0x1f, 0x8b, ..] => Box::new(GzDecoder::new(packed)),
            _ => return Err(io::Error::other("its compression is not known")),
        };
        Ok(Self {
            packed,
            size: length,
        })
    }

    /// Fills `buffer` with what comes next, but for the last time. Returns the number of bytes, 0 at
    /// the end.
    ///
    /// # Errors
    /// A payload that is damaged, or of another length than it says.
    pub(super) fn next(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.packed.read(rest)? {
                0 => break,
                read => filled += read,
            }
        }
        let left = self.size.checked_sub(filled as u64);
        self.size = left.ok_or_else(|| io::Error::other("it is longer than it says"))?;
        if filled == 0 && self.size > 0 {
            return Err(io::Error::other("it is shorter than it says"));
        }
        Ok(filled)
    }
}

/// Of a decoder: the dictionary of a kernel is 128 MiB at most (Linux, scripts/xz_wrap.sh).
const MOST_MEMORY_KIB: u32 = 129 << 10;

#[cfg(test)]
#[path = "payload_tests.rs"]
mod tests;
