use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::super::fixture::{bzimage, elf, extent, with_length, xz};
use super::*;

const MIB: u64 = 1 << 20;

fn unpack(image: &[u8]) -> io::Result<Vec<u8>> {
    let file = extent(image);
    let image = BzImage::parse(&file).map_err(io::Error::other)?;
    let mut payload = Payload::find(&file, &image)?;
    let (mut buffer, mut all) = ([0; 1000], Vec::new());
    loop {
        match payload.next(&mut buffer)? {
            0 => return Ok(all),
            filled => all.extend(&buffer[..filled]),
        }
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    // It ends in the length by itself.
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    let packed = compress_to_vec(bytes, CompressionLevel::Fastest);
    with_length(packed, bytes.len())
}

#[test]
fn kernels_of_each_format_are_unpacked() {
    let kernel = elf(&[]);
    for packed in [xz(&kernel), gzip(&kernel), zstd(&kernel)] {
        assert_eq!(unpack(&bzimage(&packed, MIB)).unwrap(), kernel);
    }
}

#[test]
fn a_payload_is_as_long_as_it_says_and_as_its_kernel_may_be() {
    let kernel = elf(&[]);
    let length = kernel.len() as u64;
    let mut packed = xz(&kernel);
    assert!(unpack(&bzimage(&packed, length)).is_ok());
    assert!(unpack(&bzimage(&packed, length - 1)).is_err());
    let tail = packed.len() - 4;
    for wrong in [0, length - 1, length + 1, u64::from(u32::MAX)] {
        packed[tail..].copy_from_slice(&(wrong as u32).to_le_bytes());
        assert!(unpack(&bzimage(&packed, MIB)).is_err(), "{wrong}");
    }
}

#[test]
fn what_is_damaged_or_unknown_is_refused() {
    let kernel = elf(&[]);
    for packed in [xz(&kernel), gzip(&kernel), zstd(&kernel)] {
        let half = with_length(packed[..packed.len() / 2].to_vec(), kernel.len());
        assert!(unpack(&bzimage(&half, MIB)).is_err());
    }
    for payload in [
        &b""[..],
        b"\x02\x21",
        b"1234",
        b"\x02\x21\x4c\x18 lz4",
        b"not packed at all",
    ] {
        assert!(
            unpack(&bzimage(payload, u32::MAX.into())).is_err(),
            "{payload:?}"
        );
    }
    let mut image = bzimage(&xz(&kernel), MIB);
    for offset in [0x248, 0x24c] {
        let field = image[offset..][..4].to_vec();
        image[offset..][..4].copy_from_slice(&[0xff; 4]);
        assert!(unpack(&image).is_err());
        image[offset..][..4].copy_from_slice(&field);
    }
}

/// A dictionary is not made before it is known to be no larger than those of kernels.
#[test]
fn memory_of_decoders_is_bounded() {
    let mut packed = xz(&elf(&[]));
    // The block's header: its size, flags, the filter, LZMA2 and the size of its dictionary, a sum.
    let header = &mut packed[12..24];
    assert_eq!(header[..8], [2, 1, 4, 0, 0x21, 1, header[6], 0]);
    header[6] = 40;
    let sum = crc32(&header[..8]);
    header[8..].copy_from_slice(&sum.to_le_bytes());
    let error = unpack(&bzimage(&packed, MIB)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
    let huge_window = with_length(b"\x28\xb5\x2f\xfd\x00\xb0".to_vec(), 1);
    let error = unpack(&bzimage(&huge_window, MIB)).unwrap_err().to_string();
    assert!(error.contains("indow"), "{error}");
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}
