use proptest::prelude::*;
use vm_memory::Bytes;

use super::super::fixture::{BASE, ENTRY, SIZE, address, elf, extent};
use super::*;
use crate::memory;

const MEMORY: u64 = 32 << 20;

fn bytes(memory: &Memory, start: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    memory.read_slice(&mut bytes, GuestAddress(start)).unwrap();
    bytes
}

#[test]
fn segments_are_loaded_and_zeros_written() {
    let memory = memory::allocate(MEMORY).unwrap();
    let base = BASE + (4 << 20);
    // What a kernel before it left.
    memory
        .write_slice(&[9; 0x4000], GuestAddress(base))
        .unwrap();
    let image = Elf::parse(extent(&elf(&[0, address(0x2001), 0]))).unwrap();
    assert!(image.is_relocatable());
    let entry = image.load(&memory, base, 2 << 20).unwrap();
    assert_eq!(entry.0, base + ENTRY);
    assert_eq!(bytes(&memory, base, 0x1000), [1; 0x1000]);
    // A hole is nobody's.
    assert_eq!(bytes(&memory, base + 0x1000, 0x1000), [9; 0x1000]);
    let relocated = 0x0202_0202_0202_0202 + (2 << 20);
    let at = GuestAddress(base + 0x2001);
    assert_eq!(memory.read_obj::<u64>(at).unwrap(), relocated);
    assert_eq!(bytes(&memory, base + 0x2009, 0x7f7), [2; 0x7f7]);
    assert_eq!(bytes(&memory, base + 0x2800, 0x800), [0; 0x800]);
    assert_eq!(bytes(&memory, base + SIZE, 0x1000), [9; 0x1000]);
}

#[test]
fn images_without_a_good_table_stay_where_they_are_linked_for() {
    for table in [&[][..], &[1], &[0, 0, 0, 0], &[0, address(SIZE), 0]] {
        let image = Elf::parse(extent(&elf(table))).unwrap();
        assert!(!image.is_relocatable(), "{table:x?}");
        let memory = memory::allocate(MEMORY).unwrap();
        let entry = image.load(&memory, BASE, 0).unwrap();
        assert_eq!(entry.0, BASE + ENTRY);
    }
}

/// Field by field: where it is, and what is not to be in it.
#[test]
fn hostile_images_are_refused() {
    let cases: &[(usize, &[u8])] = &[
        (0x04, &[1]),
        (0x05, &[2]),
        (0x12, &[40, 0]),
        (0x18, &(BASE - 1).to_le_bytes()),
        (0x18, &(BASE + SIZE).to_le_bytes()),
        (0x20, &u64::MAX.to_le_bytes()),
        (0x20, &0x2840u64.to_le_bytes()),
        (0x36, &[57, 0]),
        (0x38, &[0, 0]),
        (0x38, &[0xff, 0xff]),
        // First segment: offset, address, length in the file, length.
        (0x48, &u64::MAX.to_le_bytes()),
        (0x48, &0x2840u64.to_le_bytes()),
        (0x58, &0u64.to_le_bytes()),
        (0x58, &(u64::MAX - 0xfff).to_le_bytes()),
        (0x58, &(3u64 << 30).to_le_bytes()),
        (0x60, &u64::MAX.to_le_bytes()),
        (0x60, &0x1001u64.to_le_bytes()),
        (0x68, &0xfffu64.to_le_bytes()),
        (0x68, &u64::MAX.to_le_bytes()),
        (0x68, &(3u64 << 30).to_le_bytes()),
    ];
    for (offset, value) in cases {
        let mut image = elf(&[]);
        image[*offset..][..value.len()].copy_from_slice(value);
        let parsed = Elf::parse(extent(&image));
        assert!(parsed.is_err(), "{value:x?} at {offset:#x}");
    }
    let whole = elf(&[]);
    for length in [0, 7, 63, 64, 0x47, 0xe7, 0x1fff, 0x27ff] {
        assert!(Elf::parse(extent(&whole[..length])).is_err(), "{length}");
    }
}

proptest! {
    /// Whatever is in the headers: no panic, and not a byte outside of the span.
    #[test]
    fn no_image_writes_outside_of_itself(
        changes in prop::collection::vec((0x10usize..0xe8, any::<u8>()), 1..8),
        table in prop::collection::vec(prop_oneof![Just(0), any::<u32>(), 0x8100_0000u32..0x8100_3000], 0..8),
    ) {
        let mut image = elf(&table);
        changes.iter().for_each(|(at, byte)| image[*at] = *byte);
        let Ok(image) = Elf::parse(extent(&image)) else {
            return Ok(());
        };
        let Range { base, size } = image.span();
        prop_assume!(base + size <= MEMORY - 0x1000);
        let memory = memory::allocate(MEMORY).unwrap();
        let marks = [base - 0x1000, base + size];
        marks.iter().for_each(|at| memory.write_slice(&[9; 0x1000], GuestAddress(*at)).unwrap());
        let entry = image.load(&memory, base, 6 << 20);
        prop_assert!(entry.is_ok_and(|entry| (base..base + size).contains(&entry.0)));
        for at in marks {
            prop_assert_eq!(bytes(&memory, at, 0x1000), [9; 0x1000]);
        }
    }
}
