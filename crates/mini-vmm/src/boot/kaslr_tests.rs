use proptest::prelude::*;

use super::*;

const MIB: u64 = 1 << 20;
const WISH: Wish = Wish {
    linked: 16 * MIB,
    size: 67 * MIB,
    alignment: 2 * MIB,
};

fn range(base: u64, end: u64) -> Range {
    Range {
        base,
        size: end - base,
    }
}

proptest! {
    #[test]
    fn every_choice_is_in_free_memory_and_in_the_text(
        linked in 1..300u64,
        size in 1..600 * MIB,
        split in 0..1024u64,
        gap in 0..512u64,
        end in 0..2048u64,
        alignment in prop::sample::select(vec![2u64, 4, 16]),
        pick: u64,
    ) {
        let wish = Wish { linked: linked * 2 * MIB, size, alignment: alignment * MIB };
        let split = split * MIB + 4096;
        let second = split + gap * MIB;
        let free = [range(MIB, split.max(MIB)), range(second, second + end * MIB)];
        let slots = Slots::of(wish, free.iter().map(|range| above(*range, 16 * MIB)));
        if let Some(base) = slots.pick(pick) {
            prop_assert!(base.is_multiple_of(wish.alignment) && base >= 16 * MIB);
            let fits = |range: &Range| range.base <= base && base + size <= range.end();
            prop_assert!(free.iter().any(fits));
        }
        let place = Place::choose(wish, &free, b"console=ttyS0").unwrap();
        prop_assert!(place.random);
        let at = place.base + size;
        let chosen = free.iter().any(|range| range.base <= place.base && at <= range.end());
        prop_assert!(chosen || place.base == wish.linked);
        let mapped = wish.linked + place.shift;
        prop_assert!(place.shift == 0 || mapped.is_multiple_of(wish.alignment));
        prop_assert!(place.shift == 0 || mapped + size <= 1 << 30);
    }
}

#[test]
fn each_slot_can_be_had() {
    let free = [range(16 * MIB, 85 * MIB), range(100 * MIB, 169 * MIB)];
    let slots = Slots::of(WISH, free.into_iter());
    let all: Vec<_> = (0..4)
        .map(|random| slots.pick(random).unwrap() / MIB)
        .collect();
    assert_eq!(all, [16, 18, 100, 102]);
    assert_eq!(slots.pick(4), slots.pick(0));
    assert_eq!(
        Slots::of(WISH, [range(0, 66 * MIB)].into_iter()).pick(7),
        None
    );
}

#[test]
fn command_lines_that_want_it_elsewhere_are_obeyed() {
    let free = [range(MIB, 3 << 30)];
    let all = |line: &[u8], holds: fn(Place) -> bool| {
        (0..64).all(|_| holds(Place::choose(WISH, &free, line).unwrap()))
    };
    for line in [
        &b"nokaslr"[..],
        b"a=b nokaslr",
        b"nokaslr\tc",
        b"\"x nokaslr y\"",
    ] {
        assert!(all(line, |place| place == Place::linked(WISH.linked)));
    }
    for line in [
        &b"mem=1G"[..],
        b"a memmap=1M$2M",
        b"hugepagesz=1G hugepages=2",
    ] {
        assert!(all(line, |place| place.base == WISH.linked && place.random));
    }
    // 64 times the same one of 1,500, or of 472, is no chance.
    for line in [
        &b""[..],
        b"nokaslr=1",
        b"xnokaslr",
        b"\"nokaslr\"",
        b"a=mem=1",
    ] {
        assert!(!all(line, |place| place.base == WISH.linked), "{line:?}");
        assert!(!all(line, |place| place.shift == 0), "{line:?}");
    }
}
