//! Indicator bytes: set in one step, and marked dirty.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use guest_io::Area;
use vm_memory::bitmap::{AtomicBitmap, Bitmap, BitmapSlice};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};

type Memory = GuestMemoryMmap<AtomicBitmap>;

fn memory() -> Memory {
    Memory::from_ranges(&[(GuestAddress(0), 0x3000)]).expect("guest memory")
}

fn area(memory: &Memory) -> Area<'_, impl BitmapSlice + '_> {
    let slice = memory
        .get_slice(GuestAddress(0), 0x3000)
        .expect("guest memory");
    Area::new(&slice).expect("bytes need no alignment")
}

#[test]
fn bits_are_added_and_told_apart() {
    let memory = memory();
    let area = area(&memory);
    assert_eq!(area.set_bits(0x1001, 0x80), Some(0));
    assert_eq!(area.set_bits(0x1001, 0x81), Some(0x80));
    assert_eq!(
        memory.read_obj::<[u8; 3]>(GuestAddress(0x1000)).ok(),
        Some([0, 0x81, 0])
    );
    assert_eq!(area.set_bits(0x2fff, 1), Some(0));
    assert_eq!(area.set_bits(0x3000, 1), None);
    assert_eq!(area.set_bits(usize::MAX, 1), None);
}

#[test]
fn just_the_page_of_the_byte_is_dirty() {
    let memory = memory();
    area(&memory).set_bits(0x1fff, 1);
    let region = memory.iter().next().expect("one region");
    let dirty = |page: usize| region.bitmap().dirty_at(page << 12);
    assert_eq!([dirty(0), dirty(1), dirty(2)], [false, true, false]);
}

/// Whoever sets a bit of a byte that others change meanwhile loses none of theirs.
#[test]
fn no_bit_is_lost_between_threads() {
    let memory = memory();
    let missed = AtomicU32::new(0);
    thread::scope(|scope| {
        for bit in 0..8 {
            let (memory, missed) = (&memory, &missed);
            scope.spawn(move || {
                let area = area(memory);
                for byte in 0..0x1000 {
                    let before = area.set_bits(byte, 1 << bit);
                    missed.fetch_add(u32::from(before == Some(0)), Ordering::Relaxed);
                }
            });
        }
    });
    let mut bytes = [0; 0x1000];
    memory
        .read_slice(&mut bytes, GuestAddress(0))
        .expect("in memory");
    assert!(bytes.iter().all(|&byte| byte == 0xff));
    assert_eq!(missed.into_inner(), 0x1000, "each byte has one first");
}
