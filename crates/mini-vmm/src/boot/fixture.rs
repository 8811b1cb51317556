//! Kernels for tests, the size of which is some KiB.

use std::fs::File;
use std::io::Write;

use linux_loader::bootparam::setup_header;
use vm_memory::ByteValued;

use super::bzimage::{HEADER_MAGIC, PROTOCOL_64_BIT};
use super::extent::Extent;
use crate::layout::Range;

/// Physical address that kernels here are linked for.
pub(super) const BASE: u64 = 16 << 20;
/// Length of their span: a page, a hole of one, half a page and as many zeros.
pub(super) const SIZE: u64 = 0x3000;
/// Offset of their entry point.
pub(super) const ENTRY: u64 = 0x10;
/// Virtual address of `offset` in them, as relocations have it.
pub(super) fn address(offset: u64) -> u32 {
    (0x8000_0000 + BASE + offset) as u32
}

/// An ELF image with `table` after it. The first segment's bytes are 1, the second's 2.
pub(super) fn elf(table: &[u32]) -> Vec<u8> {
    let mut image = vec![0; 0x3000];
    image[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    let fields: [(usize, u64, usize); 9] = [
        (0x10, 2, 2),
        (0x12, 62, 2),
        (0x18, BASE + ENTRY, 8),
        (0x20, 0x40, 8),
        (0x28, 0x2800, 8),
        (0x36, 56, 2),
        (0x38, 3, 2),
        (0x3a, 64, 2),
        (0x3c, 1, 2),
    ];
    for (offset, value, size) in fields {
        image[offset..offset + size].copy_from_slice(&value.to_le_bytes()[..size]);
    }
    let segments = [
        (1, 0x1000, BASE, 0x1000, 0x1000),
        (4, 0x1000, 0, 0x10, 0x10),
        (1, 0x2000, BASE + 0x2000, 0x800, 0x1000),
    ];
    for (index, (kind, offset, base, filled, size)) in segments.into_iter().enumerate() {
        let words = [kind, offset, 0, base, filled, size, 0x1000];
        let bytes = words.map(|word: u64| word.to_le_bytes()).concat();
        image[0x40 + index * 56..][..56].copy_from_slice(&bytes);
    }
    image[0x1000..0x2000].fill(1);
    image[0x2000..0x2800].fill(2);
    image.truncate(0x2840);
    image.extend(table.iter().flat_map(|word| word.to_le_bytes()));
    image
}

/// A bzImage with `payload` in it, which wants `size` bytes of memory.
pub(super) fn bzimage(payload: &[u8], size: u64) -> Vec<u8> {
    let header = setup_header {
        setup_sects: 1,
        header: HEADER_MAGIC,
        version: PROTOCOL_64_BIT,
        loadflags: 1,
        xloadflags: 1,
        pref_address: BASE,
        init_size: size as u32,
        cmdline_size: 100,
        initrd_addr_max: 0x7fff_ffff,
        kernel_alignment: 2 << 20,
        payload_offset: 512,
        payload_length: payload.len() as u32,
        ..Default::default()
    };
    let mut image = vec![0; 0x1f1];
    image.extend_from_slice(header.as_slice());
    image.resize(1024, 0);
    image.extend_from_slice(&[0xf4; 512]);
    image.extend_from_slice(payload);
    image
}

/// `bytes` as the payload of a bzImage: compressed by xz, its length after it.
pub(super) fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut options = lzma_rust2::XzOptions::with_preset(1);
    options.set_check_sum_type(lzma_rust2::CheckType::Crc32);
    options.prepend_pre_filter(lzma_rust2::FilterType::BcjX86, 0);
    let mut writer = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
    writer.write_all(bytes).unwrap();
    with_length(writer.finish().unwrap(), bytes.len())
}

/// `packed` and the four bytes that tell how long it is when it is unpacked.
pub(super) fn with_length(mut packed: Vec<u8>, length: usize) -> Vec<u8> {
    packed.extend((length as u32).to_le_bytes());
    packed
}

/// An open file with these contents, and no name.
pub(super) fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// All of such a file.
pub(super) fn extent(bytes: &[u8]) -> Extent {
    let range = Range {
        base: 0,
        size: bytes.len() as u64,
    };
    Extent::new(file(bytes), range)
}
