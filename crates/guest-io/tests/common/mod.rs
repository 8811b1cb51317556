//! Guest memory and files for the tests.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use guest_io::{Iovecs, Segment};
use vm_memory::bitmap::{AtomicBitmap, BS, Bitmap};
use vm_memory::{
    Bytes, GuestAddress, GuestMemory, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion,
    Permissions,
};

pub type Memory = GuestMemoryMmap<AtomicBitmap>;
pub type Guard = Arc<Memory>;

pub const PAGE: usize = 4096;

/// 16 pages at 0, 16 pages right behind them, and 16 pages after a hole.
pub fn memory() -> Guard {
    let ranges = [
        (GuestAddress(0), 16 * PAGE),
        (GuestAddress(0x10000), 16 * PAGE),
        (GuestAddress(0x40000), 16 * PAGE),
    ];
    Arc::new(GuestMemoryMmap::from_ranges(&ranges).unwrap())
}

pub fn push<'m, M: GuestMemory>(
    iovecs: &mut Iovecs<'m, BS<'m, M::Bitmap>>,
    memory: &'m M,
    segments: &[Segment],
    access: Permissions,
) {
    for (address, len) in segments {
        for slice in memory.get_slices(*address, *len, access).unwrap() {
            iovecs.push(slice.unwrap());
        }
    }
}

/// Guest addresses of all dirty pages, and forgets them.
pub fn dirty_pages(memory: &Memory) -> Vec<u64> {
    let mut pages = Vec::new();
    for region in memory.iter() {
        let bitmap = region.bitmap();
        let starts = (0..region.len()).step_by(PAGE);
        let dirty = starts.filter(|offset| bitmap.dirty_at(*offset as usize));
        pages.extend(dirty.map(|offset| region.start_addr().0 + offset));
        (**region).bitmap().reset();
    }
    pages
}

/// Bytes that tell their place.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 251) as u8).collect()
}

pub fn file_of(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

pub fn contents(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// The bytes of all segments, one after the other.
pub fn gather(memory: &Memory, segments: &[Segment]) -> Vec<u8> {
    let mut all = Vec::new();
    for (address, len) in segments {
        let mut part = vec![0; *len];
        memory.read_slice(&mut part, *address).unwrap();
        all.extend(part);
    }
    all
}

/// Fills the segments with `bytes`, and forgets that this made pages dirty.
pub fn scatter(memory: &Memory, segments: &[Segment], mut bytes: &[u8]) {
    for (address, len) in segments {
        let (part, rest) = bytes.split_at(*len);
        memory.write_slice(part, *address).unwrap();
        bytes = rest;
    }
    dirty_pages(memory);
}
