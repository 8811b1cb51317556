//! Guest memory that is given back to the host: what is resident before and after.

use std::fs::File;

use guest_io::discard;
use rustix::fs::{MemfdFlags, memfd_create};
use vm_memory::bitmap::{AtomicBitmap, Bitmap};
use vm_memory::{
    Bytes, FileOffset, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion,
    GuestRegionMmap,
};

type Memory = GuestMemoryMmap<AtomicBitmap>;

const PAGE: usize = 4096;
const PAGES: usize = 16;

fn filled(file: Option<File>) -> Memory {
    let range = (
        GuestAddress(0),
        PAGES * PAGE,
        file.map(|f| FileOffset::new(f, 0)),
    );
    let memory = Memory::from_ranges_with_files([range]).unwrap();
    memory
        .write_slice(&[7; PAGES * PAGE], GuestAddress(0))
        .unwrap();
    bitmap(&memory).reset();
    memory
}

fn bitmap(memory: &Memory) -> &AtomicBitmap {
    let region: &GuestRegionMmap<AtomicBitmap> = memory.find_region(GuestAddress(0)).unwrap();
    (**region).bitmap()
}

/// Discards `len` bytes at `at`. Returns the pages that read as zeroes and those that are dirty.
fn discarded(memory: &Memory, at: usize, len: usize) -> (Vec<usize>, Vec<usize>) {
    let region = memory.find_region(GuestAddress(0)).unwrap();
    let slice = region
        .get_slice(vm_memory::MemoryRegionAddress(at as u64), len)
        .unwrap();
    discard(&slice).unwrap();
    let mut bytes = vec![1; PAGES * PAGE];
    memory.read_slice(&mut bytes, GuestAddress(0)).unwrap();
    let zero = |page: &usize| bytes[page * PAGE..][..PAGE].iter().all(|&byte| byte == 0);
    let dirty = |page: &usize| bitmap(memory).dirty_at(page * PAGE);
    (
        (0..PAGES).filter(zero).collect(),
        (0..PAGES).filter(dirty).collect(),
    )
}

#[test]
fn private_memory_is_given_back_by_whole_pages() {
    let memory = filled(None);
    assert_eq!(discarded(&memory, PAGE, 2 * PAGE), (vec![1, 2], vec![1, 2]));
    let (zero, _) = discarded(&memory, 4 * PAGE + 1, 2 * PAGE);
    assert_eq!(zero, [1, 2, 5], "a part of a page stays");
    let (zero, _) = discarded(&memory, 8 * PAGE + 1, PAGE);
    assert_eq!(zero, [1, 2, 5], "there is no whole page");
}

#[test]
fn shared_memory_has_a_hole() {
    let file = File::from(memfd_create("memory", MemfdFlags::CLOEXEC).unwrap());
    file.set_len((PAGES * PAGE) as u64).unwrap();
    let memory = filled(Some(file.try_clone().unwrap()));
    let blocks = || rustix::fs::fstat(&file).unwrap().st_blocks as usize * 512 / PAGE;
    assert_eq!(blocks(), PAGES);
    let region = memory.find_region(GuestAddress(0)).unwrap();
    let slice = region
        .get_slice(vm_memory::MemoryRegionAddress(3 * PAGE as u64), 4 * PAGE)
        .unwrap();
    discard(&slice).unwrap();
    assert_eq!(blocks(), PAGES - 4);
    let (zero, dirty) = discarded(&memory, 3 * PAGE, 4 * PAGE);
    assert_eq!((zero, dirty), (vec![3, 4, 5, 6], vec![3, 4, 5, 6]));
}

#[test]
fn locked_memory_stays() {
    let memory = filled(None);
    let region = memory.find_region(GuestAddress(0)).unwrap();
    let slice = region
        .get_slice(vm_memory::MemoryRegionAddress(0), PAGE)
        .unwrap();
    // SAFETY: the page is mapped; locking it changes nothing that it holds.
    unsafe { rustix::mm::mlock(slice.ptr_guard_mut().as_ptr().cast(), PAGE) }.unwrap();
    assert!(discard(&slice).is_err());
    let mut byte = [0];
    memory.read_slice(&mut byte, GuestAddress(0)).unwrap();
    assert_eq!((byte, bitmap(&memory).dirty_at(0)), ([7], false));
}
