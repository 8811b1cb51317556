use super::super::fixture::{BASE, SIZE, address, extent};
use super::*;

const SPAN: Range = Range {
    base: BASE,
    size: SIZE,
};
const SHIFT: u64 = 0x1234_0000_0000 + 0x60_0000;

fn find(words: &[u32]) -> io::Result<Option<Relocations>> {
    let bytes = words.iter().flat_map(|word| word.to_le_bytes());
    let bytes: Vec<_> = [0xff; 12].into_iter().chain(bytes).collect();
    Relocations::find(&extent(&bytes), 12, SPAN)
}

/// What an image of zeros is after these relocations: values of 8 bytes at `places`.
fn applied(words: &[u32], places: &[usize]) -> Vec<u64> {
    let bytes: Vec<_> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let table = extent(&bytes);
    let found = Relocations::find(&table, 0, SPAN).unwrap().unwrap();
    let mut image = vec![0; SIZE as usize];
    let slice = VolatileSlice::from(image.as_mut_slice());
    found.apply(&table, &slice, SHIFT).unwrap();
    let value = |place: &usize| u64::from_le_bytes(image[*place..][..8].try_into().unwrap());
    places.iter().map(value).collect()
}

#[test]
fn two_lists_and_three_are_told_apart() {
    let (long, other) = (address(0x101), address(SIZE - 8));
    let two = [0, long, 0, other];
    assert_eq!(
        applied(&two, &[0x101, SIZE as usize - 8]),
        [SHIFT, 0x60_0000]
    );
    let three = [0, long, 0, address(0x203), 0, other];
    let backwards = u64::from(0x60_0000u32.wrapping_neg());
    assert_eq!(
        applied(&three, &[0x101, 0x203, SIZE as usize - 8]),
        [SHIFT, backwards, 0x60_0000]
    );
    assert_eq!(applied(&[0, 0, 0], &[0]), [0]);
}

#[test]
fn relocations_reach_the_last_byte_of_the_kernel_and_no_further() {
    assert!(find(&[0, address(SIZE - 8), 0]).unwrap().is_some());
    assert!(find(&[0, 0, address(SIZE - 4)]).unwrap().is_some());
    for outside in [SIZE - 7, SIZE, u64::from(u32::MAX - address(0))] {
        assert!(find(&[0, address(outside), 0]).is_err(), "{outside:#x}");
    }
    assert!(find(&[0, 0, address(SIZE - 3)]).is_err());
    for word in [1, 0x7fff_ffff, 0x8000_0000, address(0) - 1, BASE as u32] {
        assert!(find(&[0, 0, word]).is_err(), "{word:#x}");
    }
}

#[test]
fn what_is_no_table_is_refused() {
    assert_eq!(find(&[]).unwrap(), None);
    for words in [
        &[address(0)][..],
        &[0],
        &[0, 0, 0, 0],
        &[address(0), 0, 0],
        &[0; 4096],
    ] {
        assert!(find(words).is_err(), "{words:x?}");
    }
    assert!(Relocations::find(&extent(&[0; 9]), 0, SPAN).is_err());
}

#[test]
fn a_table_that_changes_is_not_followed_out_of_the_kernel() {
    let whole: Vec<_> = [0, address(0), 0].map(u32::to_le_bytes).concat();
    let found = Relocations::find(&extent(&whole), 0, SPAN)
        .unwrap()
        .unwrap();
    let mut image = vec![0; SIZE as usize];
    let slice = VolatileSlice::from(image.as_mut_slice());
    let changed: Vec<_> = [0, address(SIZE), 0].map(u32::to_le_bytes).concat();
    assert!(found.apply(&extent(&changed), &slice, SHIFT).is_err());
    assert!(found.apply(&extent(&whole[..8]), &slice, SHIFT).is_err());
    assert!(image.iter().all(|byte| *byte == 0));
}
