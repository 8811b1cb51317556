//! Areas and arrays: what is outside cannot be reached, and what is stored is marked dirty.

use std::sync::atomic::Ordering;

use guest_io::{Area, Array};
use vm_memory::bitmap::{AtomicBitmap, BS, Bitmap};
use vm_memory::{
    Bytes, GuestAddress, GuestMemory, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion,
    Permissions, VolatileSlice,
};

type Memory = GuestMemoryMmap<AtomicBitmap>;
type Slice<'m> = VolatileSlice<'m, BS<'m, AtomicBitmap>>;

fn memory() -> Memory {
    Memory::from_ranges(&[(GuestAddress(0), 4 * PAGE)]).expect("four pages")
}

fn slice(memory: &Memory, at: u64, len: usize) -> Slice<'_> {
    let mut slices =
        GuestMemory::get_slices(memory, GuestAddress(at), len, Permissions::ReadWrite).unwrap();
    slices.next().unwrap().unwrap()
}

fn dirty(memory: &Memory) -> Vec<usize> {
    let region = memory.find_region(GuestAddress(0)).unwrap();
    let pages = (0..4).filter(|page| region.bitmap().dirty_at(page * PAGE));
    pages.collect()
}

#[test]
fn an_area_ends_where_its_slice_does() {
    let memory = memory();
    let area = Area::<_, 8>::new(&slice(&memory, 16, 20)).unwrap();
    assert_eq!((area.len(), area.is_empty()), (20, false));
    assert_eq!(area.store(16, 7u32, Ordering::Release), Some(()));
    assert_eq!(area.load::<u32>(16, Ordering::Acquire), Some(7));
    for outside in [17, 20, 24, usize::MAX - 3, usize::MAX] {
        assert_eq!(area.load::<u32>(outside, Ordering::Acquire), None);
        assert_eq!(area.store(outside, 0u32, Ordering::Release), None);
    }
    assert_eq!(area.load::<u64>(4, Ordering::Relaxed), None, "misaligned");
    assert!(area.slice(8, 12).is_some());
    assert!(area.slice(8, 13).is_none() && area.slice(usize::MAX, 2).is_none());
    assert!(Area::<_, 8>::new(&slice(&memory, 20, 8)).is_none());
}

#[test]
fn an_array_lies_inside_its_area() {
    let memory = memory();
    let area = Area::<_, 4>::new(&slice(&memory, 0x104, 2 + 8 * 4)).unwrap();
    let len = |offset, len| {
        let array: Option<Array<'_, _, u32, 2>> = area.array(offset, len);
        array.map(|array| array.len())
    };
    assert_eq!(
        (len(0, 4), len(0, 1), len(24, 1)),
        (Some(4), Some(1), Some(1))
    );
    assert_eq!((len(0, 5), len(4, 4), len(28, 1)), (None, None, None));
    assert_eq!(
        (len(2, 1), len(0, 0), len(usize::MAX, 1)),
        (None, None, None)
    );
    assert_eq!(len(0, u32::MAX), None);
}

#[test]
fn entries_are_loaded_by_index() {
    let memory = memory();
    for (at, byte) in (0x200..0x230).zip(0u8..) {
        memory.write_obj(byte, GuestAddress(at)).unwrap();
    }
    let area = Area::<_, 8>::new(&slice(&memory, 0x200, 0x30)).unwrap();
    let array: Array<'_, _, u64, 2> = area.array(0, 3).unwrap();
    let entry = array.load(2, Ordering::Acquire).unwrap();
    assert_eq!(
        entry.map(u64::to_le_bytes),
        [
            *b"\x20\x21\x22\x23\x24\x25\x26\x27",
            *b"\x28\x29\x2a\x2b\x2c\x2d\x2e\x2f"
        ]
    );
    assert_eq!(array.load(3, Ordering::Acquire), None);
    assert_eq!(array.load(u32::MAX, Ordering::Acquire), None);
}

#[test]
fn entries_go_with_slots_until_either_end() {
    let memory = memory();
    let area = Area::<_, 4>::new(&slice(&memory, 0x200, 32)).unwrap();
    let array: Array<'_, _, u32, 2> = area.array(0, 4).unwrap();
    (0..4).for_each(|index| array.store_wrapping(index, [index, !index], Ordering::Release));
    let seen = |from: u32, slots: usize| {
        let mut slots = vec![0; slots];
        for (slot, [first, last]) in array.zip_from(from, &mut slots, Ordering::Acquire) {
            assert_eq!(last, !first);
            *slot = first + 1;
        }
        slots
    };
    assert_eq!(seen(0, 4), [1, 2, 3, 4]);
    assert_eq!(seen(1, 2), [2, 3], "the slots end");
    assert_eq!(seen(2, 4), [3, 4, 0, 0], "the array ends");
    assert_eq!(seen(3, 0), [0; 0]);
    for past_the_end in [4, 5, u32::MAX] {
        assert_eq!(seen(past_the_end, 3), [0, 0, 0]);
    }
}

#[test]
fn a_ring_wraps_around_and_stays_inside() {
    let memory = memory();
    let area = Area::<_, 4>::new(&slice(&memory, 0x10, 4 + 32)).unwrap();
    let ring: Array<'_, _, u32, 2> = area.array(4, 4).unwrap();
    for index in [2, 7, u32::MAX - 3] {
        ring.store_wrapping(index, [index, !index], Ordering::Release);
        assert_eq!(
            ring.load(index % 4, Ordering::Acquire),
            Some([index, !index])
        );
        assert_eq!(
            ring.load_wrapping(index, Ordering::Acquire),
            [index, !index]
        );
    }
    // A length that is no power of two gives other entries, but none outside.
    let odd: Array<'_, _, u32, 2> = area.array(4, 3).unwrap();
    for index in 0..100 {
        odd.store_wrapping(index, [0, 0], Ordering::Release);
    }
    assert_eq!(
        ring.load(3, Ordering::Acquire),
        Some([7, !7]),
        "not touched"
    );
    assert_eq!(area.load::<u32>(0, Ordering::Relaxed), Some(0));
}

#[test]
fn what_is_stored_is_dirty() {
    let memory = memory();
    let area = Area::<_, 8>::new(&slice(&memory, 0, 4 * PAGE)).unwrap();
    let array: Array<'_, _, u64, 2> = area.array(PAGE - 8, PAGE as u32 / 16 + 1).unwrap();
    array.load(0, Ordering::Relaxed).unwrap();
    assert!(dirty(&memory).is_empty());
    assert_eq!(array.store_last(u32::MAX, 1, Ordering::Release), None);
    assert!(dirty(&memory).is_empty());
    assert_eq!(array.store_last(0, 1, Ordering::Release), Some(()));
    assert_eq!(dirty(&memory), [1], "its last word lies in the second page");
    assert_eq!(array.load(0, Ordering::Acquire), Some([0, 1]));
    array.store_wrapping(0, [2, 3], Ordering::Release);
    assert_eq!(dirty(&memory), [0, 1], "both of its words");
    area.store(3 * PAGE, 1u16, Ordering::Relaxed).unwrap();
    assert_eq!(dirty(&memory), [0, 1, 3]);
}

const PAGE: usize = 0x1000;
