//! Every chain completes exactly once, in order where that was negotiated.

mod common;

use common::{Rig, mixes};
use virtio_device::{Chain, Error, Features, Ring, RingPosition, SavedState};

#[test]
fn in_order_completions_wait_for_earlier_ones() {
    for packed in [Features::NONE, Features::RING_PACKED] {
        let mut rig = Rig::new(8, packed | Features::IN_ORDER);
        let ids: Vec<_> = (0..4).map(|_| rig.offer(&[], &[8])).collect();
        let mut chains: Vec<_> = (0..4).map(|_| rig.pop().unwrap().unwrap()).collect();
        rig.push(&mut chains[2], 2);
        rig.push(&mut chains[1], 1);
        assert_eq!((rig.collect(), rig.interrupts()), (vec![], 0));
        assert_eq!(rig.ring.in_flight(), 4, "not used yet");
        rig.push(&mut chains[0], 0);
        assert_eq!(rig.collect(), [(ids[0], 0), (ids[1], 1), (ids[2], 2)]);
        assert_eq!(rig.interrupts(), 1, "three at once");
        rig.push(&mut chains[3], 3);
        assert_eq!(rig.collect(), [(ids[3], 3)]);
        assert_eq!(rig.ring.in_flight(), 0);
    }
}

#[test]
fn without_in_order_completions_come_as_they_are() {
    for packed in [Features::NONE, Features::RING_PACKED] {
        let mut rig = Rig::new(8, packed);
        let ids: Vec<_> = (0..3).map(|_| rig.offer(&[], &[8])).collect();
        let mut chains: Vec<_> = (0..3).map(|_| rig.pop().unwrap().unwrap()).collect();
        for i in [2, 0, 1] {
            rig.push(&mut chains[i], i as u32);
        }
        assert_eq!(rig.collect(), [(ids[2], 2), (ids[0], 0), (ids[1], 1)]);
    }
}

#[test]
fn bug_22_a_chain_that_was_forgotten_is_completed_by_the_next_pop() {
    for features in mixes() {
        let mut rig = Rig::new(8, features);
        let ids = [rig.offer(&[], &[8]), rig.offer(&[], &[8])];
        let mut chain = Chain::new();
        rig.wake(|queue| {
            assert!(queue.pop(&mut chain).unwrap());
            assert!(queue.pop(&mut chain).unwrap(), "the first was never pushed");
            queue.push(&mut chain, 5);
            queue.push(&mut chain, 6);
        });
        assert_eq!(rig.collect(), [(ids[0], 0), (ids[1], 5)], "{features:?}");
        assert_eq!(rig.ring.in_flight(), 0);
    }
}

#[test]
fn a_chain_outlives_its_ring_in_vain() {
    for features in mixes() {
        let mut rig = Rig::new(8, features);
        rig.offer(&[], &[8]);
        let mut old = rig.pop().unwrap().unwrap();
        rig.ring = Ring::new(*rig.driver.config()).unwrap();
        rig.push(&mut old, 8);
        assert!(!rig.driver.has_used(), "bug_40: posted nothing");
        assert_eq!(rig.ring.in_flight(), 0);
        // The new ring has the same chain of its own.
        let mut new = rig.pop().unwrap().unwrap();
        rig.push(&mut old, 8);
        assert!(!rig.driver.has_used());
        rig.push(&mut new, 8);
        assert_eq!(rig.collect().len(), 1);
    }
}

#[test]
fn a_saved_position_goes_on_where_it_was() {
    for features in mixes() {
        // 13 descriptors of 5 (packed) or 7 chains of 8 (split): in the middle of some lap.
        let packed = features.contains(Features::RING_PACKED);
        let mut rig = Rig::new(
            if packed { 5 } else { 8 },
            features - Features::INDIRECT_DESC,
        );
        for round in 0..20 {
            for _ in 0..2 {
                rig.offer(&[1], &[1]);
                let mut chain = rig.pop().unwrap().unwrap();
                rig.push(&mut chain, 1);
            }
            assert_eq!(rig.collect().len(), 2, "round {round}, {features:?}");
            let position = rig.ring.position();
            rig.ring = Ring::at(*rig.driver.config(), position).unwrap();
            assert_eq!(rig.ring.position(), position);
        }
    }
}

/// The free-running indices of a split ring and the wrap counters of a packed one.
#[test]
fn indices_wrap_around() {
    for features in [Features::NONE, Features::RING_PACKED, Features::EVENT_IDX] {
        let mut rig = Rig::new(4, features);
        let mut chain = Chain::new();
        for round in 0..70_000u32 {
            let address = rig.heap.alloc(1, 1);
            let one = testkit::Segment {
                address,
                len: 1,
                writable: true,
            };
            let id = rig.driver.add(&[one]).expect("room");
            rig.driver.publish();
            rig.wake(|queue| {
                assert!(queue.pop(&mut chain).unwrap(), "round {round}");
                queue.push(&mut chain, 1);
            });
            assert_eq!(rig.collect(), [(id, 1)], "round {round}, {features:?}");
            rig.heap.free(address, 1);
        }
    }
}

/// Its storage fits any queue, and a chain cannot reach beyond the queue that it is popped from.
#[test]
fn a_chain_goes_from_queue_to_queue() {
    for packed in [Features::NONE, Features::RING_PACKED] {
        let mut rigs = [8, 2, 16].map(|size| Rig::new(size, packed));
        let mut chain = Chain::new();
        for index in [0, 1, 2, 1, 0, 2] {
            let rig = &mut rigs[index];
            rig.offer(&[1], &[2]);
            rig.wake(|queue| {
                assert!(queue.pop(&mut chain).unwrap());
                assert_eq!((chain.readable_len(), chain.writable_len()), (1, 2));
                assert_eq!(chain.buffers().len(), 2);
                queue.push(&mut chain, 2);
                assert!(!queue.pop(&mut chain).unwrap());
                assert!(chain.buffers().is_empty());
            });
            assert_eq!(rig.collect().len(), 1);
        }
    }
}

#[test]
fn bug_79_positions_that_cannot_be_are_refused() {
    let packed = Rig::new(5, Features::RING_PACKED);
    for bad in [5, 6, 0x7fff, 0x8005, u16::MAX] {
        for (avail, used) in [(bad, 0), (0, bad)] {
            let position = RingPosition { avail, used };
            assert!(Ring::at(*packed.driver.config(), position).is_err());
        }
    }
    let position = RingPosition {
        avail: 0x8004,
        used: 4,
    };
    assert!(Ring::at(*packed.driver.config(), position).is_ok());
    // Split indices run free: every pair is a position, though the driver may not agree.
    let mut split = Rig::new(8, Features::NONE);
    let position = RingPosition {
        avail: 1000,
        used: 7,
    };
    split.ring = Ring::at(*split.driver.config(), position).unwrap();
    assert!(split.pop().is_err());
}

#[test]
fn saved_states_know_their_kind_and_version() {
    let state = SavedState::new("virtio-toy", 3, vec![1, 2]);
    assert_eq!(state.expect("virtio-toy", 3).unwrap(), [1, 2]);
    for (kind, version) in [
        ("virtio-toys", 3),
        ("", 3),
        ("virtio-toy", 2),
        ("virtio-toy", 4),
    ] {
        assert!(matches!(state.expect(kind, version), Err(Error::State(_))));
    }
}

#[test]
fn an_unpopped_chain_is_popped_again_as_it_was() {
    for features in mixes() {
        let mut rig = Rig::new(4, features);
        // Around the end of the ring more than once, with chains of one and of two.
        for lap in 0..9 {
            let ids = [rig.offer(&[], &[8]), rig.offer(&[4], &[8])];
            let [mut first, mut second] = [Chain::new(), Chain::new()];
            rig.wake(|queue| {
                assert!(queue.pop(&mut first).unwrap() && queue.pop(&mut second).unwrap());
                queue.unpop(&mut first);
                assert!(first.is_live(), "only the last can be put back");
                queue.unpop(&mut second);
                queue.unpop(&mut first);
                queue.unpop(&mut first);
                assert!(!first.is_live() && queue.has_available());
            });
            assert_eq!((rig.ring.in_flight(), rig.collect()), (0, vec![]));
            assert!(!rig.ring.is_drained());
            for id in ids {
                let mut chain = rig.pop().unwrap().expect("it is there again");
                assert_eq!(chain.writable_len(), 8);
                rig.push(&mut chain, lap);
                assert_eq!(rig.collect(), [(id, lap)], "{features:?}");
            }
        }
    }
}

#[test]
fn chains_that_belong_together_are_seen_together() {
    for features in mixes() {
        let mut rig = Rig::new(32, features);
        let ids: Vec<_> = (0..20).map(|_| rig.offer(&[], &[8])).collect();
        let mut chains: Vec<_> = (0..20).map(|_| Chain::new()).collect();
        rig.wake(|queue| {
            for chain in &mut chains {
                assert!(queue.pop(chain).unwrap());
            }
            queue.push(&mut chains[0], 1);
            let (_, rest) = chains.split_at_mut(1);
            queue.push_together(rest.iter_mut().map(|chain| (chain, 2)));
            assert_eq!(queue.ring().in_flight(), 0);
        });
        let expected = ids
            .iter()
            .zip(0..)
            .map(|(&id, n)| (id, 1 + u32::from(n > 0)));
        assert_eq!(rig.collect(), expected.collect::<Vec<_>>(), "{features:?}");
    }
}

#[test]
fn held_interrupts_come_when_they_are_let_go() {
    for features in mixes() {
        let mut rig = Rig::new(8, features);
        for _ in 0..3 {
            rig.offer(&[], &[8]);
            let mut chain = rig.pop().unwrap().unwrap();
            rig.wake(|queue| {
                queue.hold_interrupts(true);
                queue.push(&mut chain, 1);
            });
            rig.wake(|queue| queue.arm());
        }
        assert_eq!(rig.interrupts(), 0);
        rig.wake(|queue| {
            assert_eq!(queue.unsignalled(), 3);
            queue.hold_interrupts(false);
        });
        assert_eq!(
            (rig.interrupts(), rig.collect().len()),
            (1, 3),
            "{features:?}"
        );
    }
}
