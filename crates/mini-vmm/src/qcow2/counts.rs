//! Whether an image counts the references to its own first cluster, where its header is.
//!
//! imago allocates by these counts. Where nothing counts the first cluster it takes it for free,
//! writes over the header, and recurses until the stack is gone, which nothing can catch. Other
//! counts that contradict what is in use spoil the image, and nothing else.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Reads as much of the header and of the refcount table of an image (QEMU's docs/interop/qcow2) as
/// it takes to know. What is no image at all is left to others.
///
/// # Errors
/// One that says so where it does not, and those of reading.
pub(super) fn check(file: &File) -> io::Result<()> {
    let mut fields = [0; 12];
    file.read_exact_at(&mut fields, REFCOUNT_TABLE)?;
    let (offset, clusters) = fields.split_at(8);
    let mut entry = [0; 8];
    file.read_exact_at(&mut entry, number(offset))?;
    match number(clusters) == 0 || number(&entry) & BLOCK_OFFSET == 0 {
        true => Err(io::Error::other(
            "its reference counts leave out its own header; 'qemu-img check -r all' makes new ones",
        )),
        false => Ok(()),
    }
}

fn number(big_endian: &[u8]) -> u64 {
    let digits = big_endian.iter();
    digits.fold(0, |number, digit| number << 8 | u64::from(*digit))
}

/// Offset of `refcount_table_offset`, 8 bytes, before `refcount_table_clusters`, 4 bytes.
const REFCOUNT_TABLE: u64 = 48;
/// The offset of a refcount block in an entry of the table.
const BLOCK_OFFSET: u64 = !0x1ff;
