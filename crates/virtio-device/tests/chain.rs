//! Access to the bytes of a chain, however the driver cut them.

mod common;

use common::Rig;
use proptest::collection::vec;
use proptest::prelude::*;
use testkit::{BOUNDARY, END, Segment, clear_dirty, is_dirty};
use virtio_device::{Chain, Features, MemoryError};

/// A chain of exactly these segments, and what it takes to use it.
fn chain_of(rig: &mut Rig, segments: &[Segment]) -> Chain {
    rig.driver.add(segments).expect("room");
    rig.driver.publish();
    rig.pop().expect("well-formed").expect("available")
}

fn segment(address: u64, len: u32, writable: bool) -> Segment {
    Segment {
        address,
        len,
        writable,
    }
}

/// Cuts `bytes` at the given places into segments far from one another.
fn cut(rig: &Rig, bytes: &[u8], cuts: &[usize], writable: bool) -> Vec<Segment> {
    let mut ends: Vec<_> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    let mut segments = Vec::new();
    let mut start = 0;
    for end in ends {
        let address = rig.heap.alloc(bytes.len() as u64 + 64, 1) + 32;
        rig.driver.ram().write(address, &bytes[start..end]);
        segments.push(segment(address, (end - start) as u32, writable));
        start = end;
    }
    segments
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bug_23_any_cut_of_the_same_bytes_reads_and_writes_the_same(
        bytes in vec(any::<u8>(), 0..200),
        readable_cuts in vec(any::<usize>(), 0..6),
        writable_cuts in vec(any::<usize>(), 0..6),
        offset in 0..220_u32,
        len in 0..220_usize,
        packed in any::<bool>(),
        indirect in any::<bool>(),
    ) {
        let features = Features::RING_PACKED.when(packed) | Features::INDIRECT_DESC.when(indirect);
        let mut rig = Rig::new(16, features);
        let mut segments = cut(&rig, &bytes, &readable_cuts, false);
        let zeroes = vec![0; bytes.len()];
        let writable = cut(&rig, &zeroes, &writable_cuts, true);
        segments.extend(writable.iter().copied());
        let chain = chain_of(&mut rig, &segments);
        let end = offset as usize + len;
        let expected = bytes.get(offset as usize..end);
        let mut out = vec![0xaa; len];
        let (read, written) = rig.wake(|queue| {
            let read = chain.read_at(queue.view(), offset, &mut out);
            (read, chain.write_at(queue.view(), offset, &out))
        });
        assert_eq!(read.is_ok(), expected.is_some());
        assert_eq!(written.is_ok(), expected.is_some());
        let mut after = zeroes;
        match expected {
            Some(expected) => {
                assert_eq!(out, expected);
                after[offset as usize..end].copy_from_slice(expected);
            }
            None => {
                let short = MemoryError::Short { want: end as u64, have: bytes.len() as u64 };
                assert_eq!(read, Err(short));
                assert_eq!(out, vec![0xaa; len], "untouched");
            }
        }
        let ram = rig.driver.ram();
        let held = writable.iter().flat_map(|s| ram.read(s.address, s.len as usize));
        assert_eq!(held.collect::<Vec<u8>>(), after);
    }

    #[test]
    fn ranges_cover_what_they_are_asked_for(
        lengths in vec(0..50_u32, 1..6),
        offset in 0..300_u32,
        len in 0..300_u32,
    ) {
        let mut rig = Rig::new(8, Features::NONE);
        let segments: Vec<_> = lengths.iter().map(|&len| segment(0x1000, len, false)).collect();
        let chain = chain_of(&mut rig, &segments);
        let total: u32 = lengths.iter().sum();
        let covered: u32 = chain.readable_range(offset, len).map(|b| b.len).sum();
        assert_eq!(covered, len.min(total.saturating_sub(offset)));
        assert!(chain.readable_range(offset, len).all(|b| b.len > 0));
        assert_eq!(chain.writable_range(offset, len).count(), 0);
    }
}

#[test]
fn bug_18_nothing_moves_unless_all_of_it_can() {
    for bad in [
        segment(END - 4, 16, true),
        segment(END, 1, true),
        segment(u64::MAX - 16, 16, true),
    ] {
        let mut rig = Rig::new(8, Features::NONE);
        let good = segment(0x8000, 16, true);
        let chain = chain_of(&mut rig, &[good, bad]);
        let len = 16 + bad.len as usize;
        let written = rig.wake(|queue| chain.write_at(queue.view(), 0, &vec![1; len]));
        assert!(matches!(written, Err(MemoryError::OutOfRange { .. })));
        assert_eq!(rig.driver.ram().read(0x8000, 16), [0; 16]);
        let written = rig.wake(|queue| chain.write_at(queue.view(), 0, &[1; 16]));
        assert_eq!(written, Ok(()), "the good part alone");
    }
}

#[test]
fn bug_18_reading_past_memory_leaves_the_copy_as_it_was() {
    let mut rig = Rig::new(8, Features::NONE);
    let chain = chain_of(&mut rig, &[segment(END - 8, 16, false)]);
    let mut bytes = [7; 16];
    let read = rig.wake(|queue| chain.read_at(queue.view(), 0, &mut bytes));
    assert!(read.is_err());
    assert_eq!(bytes, [7; 16]);
    let header = rig.wake(|queue| chain.read_array::<8, _>(queue.view(), 0));
    assert_eq!(header, Ok([0; 8]));
}

#[test]
fn bug_19_buffers_across_two_regions_are_whole() {
    let mut rig = Rig::new(8, Features::NONE);
    let bytes: Vec<u8> = (0..64).collect();
    rig.driver.ram().write(BOUNDARY - 32, &bytes);
    let halves = [
        segment(BOUNDARY - 32, 64, false),
        segment(BOUNDARY - 20, 40, true),
    ];
    let chain = chain_of(&mut rig, &halves);
    let mut out = [0; 64];
    let mut pieces = Vec::new();
    clear_dirty(&rig.memory);
    rig.wake(|queue| {
        chain.read_at(queue.view(), 0, &mut out).unwrap();
        let push = |slice: testkit::vm_memory::VolatileSlice<'_, _>| pieces.push(slice.len());
        chain.readable_slices(queue.view(), 0, 64, push).unwrap();
        chain.write_at(queue.view(), 0, &[9; 40]).unwrap();
    });
    assert_eq!(out, *bytes);
    assert_eq!(pieces, [32, 32]);
    assert_eq!(rig.driver.ram().read(BOUNDARY - 20, 40), [9; 40]);
    assert!(is_dirty(&rig.memory, BOUNDARY - 20, 40), "on both sides");
    assert!(!is_dirty(&rig.memory, BOUNDARY + 4096, 1));
}

#[test]
fn slices_are_not_given_unless_all_can_be() {
    let mut rig = Rig::new(8, Features::NONE);
    let chain = chain_of(&mut rig, &[segment(0, 8, true), segment(END - 1, 2, true)]);
    let mut calls = 0;
    rig.wake(|queue| {
        assert!(
            chain
                .writable_slices(queue.view(), 0, 10, |_| calls += 1)
                .is_err()
        );
        assert!(
            chain
                .writable_slices(queue.view(), 0, 11, |_| calls += 1)
                .is_err()
        );
        assert!(
            chain
                .writable_slices(queue.view(), u32::MAX, u32::MAX, |_| calls += 1)
                .is_err()
        );
        assert!(
            chain
                .readable_slices(queue.view(), 0, 1, |_| calls += 1)
                .is_err()
        );
    });
    assert_eq!(calls, 0);
    rig.wake(|queue| {
        chain
            .writable_slices(queue.view(), 0, 9, |_| calls += 1)
            .unwrap()
    });
    assert_eq!(calls, 2);
}

#[test]
fn reading_marks_nothing_dirty() {
    let mut rig = Rig::new(8, Features::NONE);
    let chain = chain_of(&mut rig, &[segment(0x9000, 16, false)]);
    clear_dirty(&rig.memory);
    rig.wake(|queue| chain.read_array::<16, _>(queue.view(), 0).unwrap());
    assert!(!is_dirty(&rig.memory, 0x9000, 16));
}

#[test]
fn bug_28_a_used_length_is_clipped_to_what_is_writable() {
    let mut rig = Rig::new(8, Features::NONE);
    let mut chain = chain_of(&mut rig, &[segment(0, 8, false), segment(0, 24, true)]);
    rig.push(&mut chain, u32::MAX);
    assert_eq!(rig.collect(), [(0, 24)]);
}

#[test]
fn a_chain_that_moves_is_pushed_from_where_it_is() {
    for features in [Features::NONE, Features::RING_PACKED] {
        let mut rig = Rig::new(16, features);
        let (place, other) = (rig.heap.alloc(8, 1), rig.heap.alloc(8, 1));
        let mut chain = chain_of(&mut rig, &[segment(place, 8, true)]);
        let mut moved = Chain::new();
        chain.move_to(&mut moved);
        assert!(!chain.is_live() && chain.buffers().is_empty());
        assert!(moved.is_live() && moved.writable_len() == 8);
        let mut second = chain_of(&mut rig, &[segment(other, 4, true)]);
        second.move_to(&mut moved);
        assert_eq!(
            (moved.writable_len(), second.writable_len()),
            (4, 8),
            "none is lost"
        );
        rig.wake(|queue| {
            queue.push(&mut chain, 1);
            queue.push(&mut second, 8);
            queue.push(&mut moved, 4);
        });
        let used: Vec<_> = rig.collect().iter().map(|(_, len)| *len).collect();
        assert_eq!(used, [8, 4], "{features:?}");
    }
}
