//! However a request is cut into segments, the bytes are the same, and so are the dirty pages.

mod common;

use std::collections::BTreeSet;
use std::os::fd::AsFd;

use common::{Guard, PAGE, contents, dirty_pages, file_of, gather, memory, pattern, push, scatter};
use guest_io::{Flags, Iovecs, Segment, Storage, Uring, read_exact_at, write_all_at};
use proptest::prelude::*;
use vm_memory::{GuestAddress, Permissions};

/// Segments that do not overlap, in any order: each has a slot of its own.
fn segments() -> impl Strategy<Value = Vec<Segment>> {
    const SLOT: u64 = 0x400;
    let places: Vec<u64> = (0..0x20000).step_by(SLOT as usize).collect();
    let cut = (0..SLOT / 2, 0..=SLOT / 2);
    let shuffled = prop::sample::subsequence(places, 0..100).prop_shuffle();
    (shuffled, prop::collection::vec(cut, 100)).prop_map(|(places, cuts)| {
        let segments = places.into_iter().zip(cuts);
        segments
            .map(|(place, (skip, len))| (GuestAddress(place + skip), len as usize))
            .collect()
    })
}

fn total(segments: &[Segment]) -> usize {
    segments.iter().map(|(_, len)| len).sum()
}

fn pages_of(segments: &[Segment]) -> Vec<u64> {
    let bytes = segments
        .iter()
        .flat_map(|(address, len)| address.0..address.0 + *len as u64);
    let pages: BTreeSet<_> = bytes.map(|byte| byte & !(PAGE as u64 - 1)).collect();
    pages.into_iter().collect()
}

fn finish(ring: &mut Uring<Guard>) -> usize {
    loop {
        if let Some(completion) = ring.poll() {
            return completion.result.unwrap();
        }
        ring.wait().unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn at_once(segments in segments(), offset in 0..100_u64) {
        let (memory, bytes) = (memory(), pattern(total(&segments) + 100));
        let expected = &bytes[offset as usize..][..total(&segments)];
        let mut storage = Storage::new();
        let mut iovecs = Iovecs::new(&mut storage);
        push(&mut iovecs, &*memory, &segments, Permissions::Write);
        read_exact_at(file_of(&bytes), &mut iovecs, offset, Flags::NONE).unwrap();
        prop_assert_eq!(gather(&memory, &segments), expected);
        prop_assert_eq!(dirty_pages(&memory), pages_of(&segments));
        let copy = file_of(&[]);
        push(&mut iovecs, &*memory, &segments, Permissions::Read);
        write_all_at(&copy, &mut iovecs, 0, Flags::NONE).unwrap();
        prop_assert_eq!(contents(&copy), expected);
    }

    #[test]
    fn through_the_ring(segments in segments()) {
        let (memory, bytes) = (memory(), pattern(total(&segments)));
        let mut ring = Uring::new(file_of(&bytes).as_fd(), 1).unwrap();
        ring.read(0, 0, &memory, segments.iter().copied()).unwrap();
        prop_assert_eq!(finish(&mut ring), bytes.len());
        prop_assert_eq!(gather(&memory, &segments), &bytes[..]);
        prop_assert_eq!(dirty_pages(&memory), pages_of(&segments));
        scatter(&memory, &segments, &bytes);
        let copy = file_of(&[]);
        let mut ring = Uring::new(&copy, 1).unwrap();
        ring.write(0, 0, Flags::NONE, &memory, segments.iter().copied()).unwrap();
        prop_assert_eq!(finish(&mut ring), bytes.len());
        prop_assert_eq!(contents(&copy), bytes);
        prop_assert!(dirty_pages(&memory).is_empty());
    }
}
