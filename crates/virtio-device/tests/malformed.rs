//! What the engines answer to each way of breaking the rules, and to what only looks like it.

mod common;

use common::{Rig, mixes};
use testkit::{DriverRing, INDIRECT, Malformed, NEXT, RawDescriptor, Segment, WRITE};
use virtio_device::{
    ByteOrder, Chain, Features, QueueError, Ring, RingArea, RingConfig, Virtqueue,
};

/// The error that each case is answered with, in a queue of 8.
fn expected(malformed: Malformed) -> QueueError {
    use Malformed as M;
    let index = |index, size| QueueError::DescriptorIndex { index, size };
    match malformed {
        M::HeadOutOfRange | M::NextOutOfRange => index(8, 8),
        M::SelfLoop | M::Cycle | M::EndlessChain | M::IndirectTooLong => QueueError::TooLong,
        M::IndexAhead => QueueError::AvailableIndex { ahead: 9, size: 8 },
        M::IndexBehind => QueueError::AvailableIndex {
            ahead: u16::MAX,
            size: 8,
        },
        M::ReadableAfterWritable => QueueError::Order,
        M::BufferWraps | M::IndirectWraps => QueueError::Wrap,
        M::IndirectNotNegotiated
        | M::IndirectWithNext
        | M::IndirectNested
        | M::IndirectEmpty
        | M::IndirectLength => QueueError::Indirect,
        M::IndirectOutside => QueueError::IndirectMemory,
        M::IndirectLoop => QueueError::TooLong,
        M::IndirectNextOutOfRange => index(1, 1),
    }
}

#[test]
fn bug_05_bug_10_bug_11_bug_12_each_malformed_chain_stops_the_queue() {
    let mut cases = 0;
    for features in mixes() {
        for &malformed in Malformed::ALL {
            let mut rig = Rig::new(8, features);
            if !malformed.applies(rig.driver.config()) {
                continue;
            }
            cases += 1;
            malformed.forge(&mut rig.driver);
            let error = expected(malformed);
            let mut chain = Chain::new();
            rig.wake(|queue| {
                assert_eq!(
                    queue.pop(&mut chain),
                    Err(error),
                    "{malformed:?} {features:?}"
                );
                assert_eq!(queue.pop(&mut chain), Err(error), "and again");
            });
            assert!(!chain.is_live());
            assert_eq!(rig.ring.broken(), Some(error));
            let memory: &testkit::Memory = &rig.memory;
            let again = Virtqueue::attach(0, &mut rig.ring, memory, &rig.interrupts);
            assert_eq!(again.err(), Some(error), "bug_06: no second look");
            assert_eq!((rig.ring.in_flight(), rig.interrupts()), (0, 0));
        }
    }
    assert!(cases > 150, "{cases}");
}

#[test]
fn chains_before_a_malformed_one_are_completed() {
    for packed in [Features::NONE, Features::RING_PACKED] {
        let mut rig = Rig::new(8, packed);
        let id = rig.offer(&[4], &[4]);
        let mut chain = rig.pop().unwrap().unwrap();
        match rig.driver.ring_mut() {
            DriverRing::Split(ring) => {
                ring.push_head(99);
                ring.set_avail_idx(2);
            }
            DriverRing::Packed(ring) => ring.place_raw(&[RawDescriptor {
                flags: INDIRECT,
                ..RawDescriptor::default()
            }]),
        }
        rig.driver.publish();
        rig.wake(|queue| {
            assert!(queue.pop(&mut Chain::new()).is_err());
            queue.push(&mut chain, 3);
        });
        assert_eq!(rig.collect(), [(id, 3)]);
    }
}

#[test]
fn bug_09_a_head_in_flight_cannot_be_made_available_again() {
    let mut rig = Rig::new(8, Features::NONE);
    let id = rig.offer(&[], &[16]);
    let first = rig.pop().unwrap().unwrap();
    let DriverRing::Split(ring) = rig.driver.ring_mut() else {
        unreachable!("negotiated split");
    };
    ring.push_head(id);
    rig.driver.publish();
    assert_eq!(rig.pop().unwrap_err(), QueueError::InFlight { id });
    // The first is still the device's, and not handed out twice.
    assert!(first.is_live());
    assert_eq!(rig.ring.in_flight(), 1);
}

#[test]
fn bug_09_a_packed_id_in_flight_cannot_be_made_available_again() {
    let mut rig = Rig::new(8, Features::RING_PACKED);
    let id = rig.offer(&[], &[16]);
    let _first = rig.pop().unwrap().unwrap();
    let DriverRing::Packed(ring) = rig.driver.ring_mut() else {
        unreachable!("negotiated packed");
    };
    ring.place_raw(&[RawDescriptor {
        next: id,
        ..RawDescriptor::default()
    }]);
    rig.driver.publish();
    assert_eq!(rig.pop().unwrap_err(), QueueError::InFlight { id });
}

#[test]
fn bug_08_a_packed_ring_cannot_be_oversubscribed() {
    let mut rig = Rig::new(4, Features::RING_PACKED);
    let mut held = Vec::new();
    for _ in 0..4 {
        rig.offer(&[], &[16]);
        held.push(rig.pop().unwrap().unwrap());
    }
    // A fifth chain, with an id that is free, over descriptors that are not.
    let DriverRing::Packed(ring) = rig.driver.ring_mut() else {
        unreachable!("negotiated packed");
    };
    ring.place_raw(&[RawDescriptor {
        next: 77,
        ..RawDescriptor::default()
    }]);
    rig.driver.publish();
    assert_eq!(rig.pop().unwrap_err(), QueueError::InFlight { id: 77 });
}

#[test]
fn bug_01_zero_length_buffers_are_buffers() {
    for features in mixes() {
        let mut rig = Rig::new(8, features);
        let id = rig.offer(&[0, 4, 0], &[0, 0, 8]);
        let mut chain = rig.pop().unwrap().unwrap();
        assert_eq!((chain.readable_len(), chain.writable_len()), (4, 8));
        assert_eq!(chain.readable().len() + chain.writable().len(), 6);
        rig.push(&mut chain, 8);
        assert_eq!(rig.collect(), [(id, 8)]);
    }
}

#[test]
fn bug_02_a_length_of_four_gigabytes_is_a_length() {
    let mut rig = Rig::new(8, Features::NONE);
    let huge = Segment {
        address: 0,
        len: u32::MAX,
        writable: true,
    };
    rig.driver.add(&[huge]).unwrap();
    rig.driver.publish();
    let chain = rig.pop().unwrap().unwrap();
    assert_eq!(chain.writable_len(), u32::MAX);
    let written = rig.wake(|queue| {
        let slices = |_: testkit::vm_memory::VolatileSlice<'_, _>| panic!("not memory");
        chain.writable_slices(queue.view(), 0, u32::MAX, slices)
    });
    assert!(written.is_err());
}

#[test]
fn a_chain_of_four_gigabytes_is_as_long_as_a_length_can_say() {
    for packed in [Features::NONE, Features::RING_PACKED] {
        let mut rig = Rig::new(8, packed);
        let [readable, writable] = [false, true].map(|writable| Segment {
            address: 0,
            len: u32::MAX,
            writable,
        });
        rig.driver
            .add(&[readable, readable, writable, writable])
            .unwrap();
        rig.driver.publish();
        let chain = rig.pop().unwrap().unwrap();
        let lengths = (chain.readable_len(), chain.writable_len());
        assert_eq!(lengths, (u32::MAX, u32::MAX));
        let reached: u64 = chain
            .readable_range(0, u32::MAX)
            .map(|buffer| u64::from(buffer.len))
            .sum();
        assert_eq!(reached, u64::from(u32::MAX));
    }
}

#[test]
fn bug_12_write_on_an_indirect_descriptor_is_ignored() {
    for packed in [Features::NONE, Features::RING_PACKED] {
        let mut rig = Rig::new(8, packed | Features::INDIRECT_DESC);
        let entry = RawDescriptor {
            address: 0x5000,
            len: 32,
            ..RawDescriptor::default()
        };
        let (address, len) = rig.driver.write_table(&[entry]);
        rig.driver.forge(&[RawDescriptor {
            address,
            len: len as u32,
            flags: INDIRECT | WRITE,
            next: 0,
        }]);
        let chain = rig.pop().unwrap().unwrap();
        assert_eq!((chain.readable_len(), chain.writable_len()), (32, 0));
    }
}

#[test]
fn a_split_chain_may_end_in_an_indirect_table() {
    let buffer = |address| RawDescriptor {
        address,
        len: 1,
        ..RawDescriptor::default()
    };
    let chained = |count: u16| -> Vec<_> {
        (1..=count)
            .map(|i| RawDescriptor {
                flags: if i < count { NEXT } else { 0 },
                next: i,
                ..buffer(u64::from(i))
            })
            .collect()
    };
    for (entries, fits) in [(3, true), (4, false)] {
        let mut rig = Rig::new(4, Features::INDIRECT_DESC);
        let (address, len) = rig.driver.write_table(&chained(entries));
        let head = RawDescriptor {
            flags: NEXT,
            next: 1,
            ..buffer(0)
        };
        let table = RawDescriptor {
            address,
            len: len as u32,
            flags: INDIRECT,
            next: 0,
        };
        rig.driver.forge(&[head, table]);
        match rig.pop() {
            Ok(chain) => {
                assert!(fits);
                let buffers = chain.unwrap().readable().to_vec();
                let addresses: Vec<_> = buffers.iter().map(|b| b.address).collect();
                assert_eq!(addresses, [0, 1, 2, 3]);
            }
            Err(error) => assert_eq!((fits, error), (false, QueueError::TooLong)),
        }
    }
}

#[test]
fn an_indirect_table_may_be_misaligned_and_lie_across_regions() {
    for packed in [Features::NONE, Features::RING_PACKED] {
        for address in [0x7003, testkit::BOUNDARY - 16, testkit::BOUNDARY - 7] {
            let mut rig = Rig::new(8, packed | Features::INDIRECT_DESC);
            let entries = [(0x100, 5), (0x200, 6)].map(|(address, len)| RawDescriptor {
                address,
                len,
                flags: 0,
                next: 1,
            });
            let bytes = match packed == Features::NONE {
                true => [
                    RawDescriptor {
                        flags: NEXT,
                        ..entries[0]
                    },
                    entries[1],
                ]
                .map(|descriptor| descriptor.split(ByteOrder::Little)),
                false => entries.map(RawDescriptor::packed),
            };
            rig.driver.ram().write(address, bytes.as_flattened());
            rig.driver.forge(&[RawDescriptor {
                address,
                len: 32,
                flags: INDIRECT,
                next: 0,
            }]);
            let chain = rig.pop().unwrap().unwrap();
            let lengths: Vec<_> = chain.readable().iter().map(|b| b.len).collect();
            assert_eq!(lengths, [5, 6]);
        }
    }
}

#[test]
fn a_wake_up_takes_a_queueful_and_asks_for_another() {
    for packed in [Features::NONE, Features::RING_PACKED] {
        let mut rig = Rig::new(4, packed);
        let mut chain = Chain::new();
        for _ in 0..4 {
            rig.offer(&[], &[1]);
        }
        let Rig {
            memory,
            driver,
            ring,
            interrupts,
            ..
        } = &mut rig;
        let memory: &testkit::Memory = memory;
        let mut queue = Virtqueue::attach(0, ring, memory, interrupts).unwrap();
        for _ in 0..4 {
            assert_eq!(queue.pop(&mut chain), Ok(true));
            queue.push(&mut chain, 0);
        }
        queue.publish();
        // A driver that never stops.
        driver.collect().unwrap();
        let one = Segment {
            address: 0,
            len: 1,
            writable: true,
        };
        driver.add(&[one]).unwrap();
        driver.publish();
        assert_eq!(queue.pop(&mut chain), Ok(false), "its share is used up");
        drop(queue);
        assert!(ring.take_more() && !ring.take_more() && !ring.is_drained());
        assert!(rig.pop().unwrap().is_some());
    }
}

#[test]
fn bug_36_rings_that_cannot_be_are_refused() {
    let good = |features| *Rig::new(8, features).driver.config();
    for features in [Features::NONE, Features::RING_PACKED] {
        let config = good(features);
        let wrong = [
            (
                RingArea::Descriptor,
                RingConfig {
                    descriptor: 8,
                    ..config
                },
            ),
            (
                RingArea::Driver,
                RingConfig {
                    driver: 1,
                    ..config
                },
            ),
            (
                RingArea::Device,
                RingConfig {
                    device: 2,
                    ..config
                },
            ),
        ];
        for (area, config) in wrong {
            let error = QueueError::RingMemory(area);
            assert_eq!(config.check(), Err(error));
            assert_eq!(Ring::new(config).err(), Some(error));
        }
    }
    let seven = virtio_device::QueueSize::new(7).unwrap();
    let split = RingConfig {
        size: seven,
        ..good(Features::NONE)
    };
    assert_eq!(split.check(), Err(QueueError::Size(7)));
    let packed = RingConfig {
        size: seven,
        ..good(Features::RING_PACKED)
    };
    assert_eq!(packed.check(), Ok(()));
    for size in [0, 0x8001, u16::MAX] {
        assert_eq!(
            virtio_device::QueueSize::new(size),
            Err(QueueError::Size(size))
        );
    }
}

#[test]
fn bug_25_rings_outside_memory_are_not_touched() {
    for features in [Features::NONE, Features::RING_PACKED] {
        let rig = Rig::new(8, features);
        let config = *rig.driver.config();
        for address in [testkit::END, testkit::END - 16, testkit::BOUNDARY - 16, !15] {
            let mut ring = Ring::new(RingConfig {
                descriptor: address,
                ..config
            })
            .unwrap();
            let memory: &testkit::Memory = &rig.memory;
            let error = QueueError::RingMemory(RingArea::Descriptor);
            for _ in 0..2 {
                let queue = Virtqueue::attach(0, &mut ring, memory, &rig.interrupts);
                assert_eq!(queue.err(), Some(error));
            }
            assert_eq!(ring.broken(), Some(error));
        }
    }
}
