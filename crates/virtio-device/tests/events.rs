//! Who notifies whom: suppression of interrupts and of available buffer notifications.

mod common;

use common::Rig;
use testkit::DriverRing;
use virtio_device::{Chain, Features};

const FORMATS: [Features; 2] = [Features::NONE, Features::RING_PACKED];
const EVENT_IDX: Features = Features::EVENT_IDX;

/// Serves everything that is available in one wake-up; returns how many chains that was.
fn serve(rig: &mut Rig) -> u32 {
    let mut chain = Chain::new();
    rig.wake(|queue| {
        let mut count = 0;
        while queue.pop(&mut chain).unwrap() {
            queue.push(&mut chain, 0);
            count += 1;
        }
        count
    })
}

#[test]
fn a_batch_is_one_interrupt() {
    for features in FORMATS.into_iter().flat_map(|f| [f, f | EVENT_IDX]) {
        let mut rig = Rig::new(128, features);
        for round in 1..=3 {
            for _ in 0..40 {
                rig.offer(&[1], &[1]);
            }
            assert_eq!(serve(&mut rig), 40);
            assert_eq!(rig.interrupts(), round, "{features:?}");
            assert_eq!(rig.collect().len(), 40);
        }
        serve(&mut rig);
        assert_eq!(rig.interrupts(), 3, "nothing used, nobody interrupted");
    }
}

#[test]
fn a_driver_that_wants_no_interrupts_gets_none() {
    for features in FORMATS.into_iter().flat_map(|f| [f, f | EVENT_IDX]) {
        let mut rig = Rig::new(8, features);
        rig.driver.set_interrupts(false);
        for _ in 0..100 {
            rig.offer(&[], &[1]);
            serve(&mut rig);
            rig.collect();
        }
        assert_eq!(rig.interrupts(), 0, "{features:?}");
        rig.driver.set_interrupts(true);
        rig.offer(&[], &[1]);
        serve(&mut rig);
        assert_eq!(rig.interrupts(), 1, "{features:?}");
    }
}

#[test]
fn an_event_in_the_future_is_waited_for() {
    for packed in FORMATS {
        let mut rig = Rig::new(16, packed | EVENT_IDX);
        // Interrupt once the fifth chain, at index or position 4, has been used.
        match rig.driver.ring_mut() {
            DriverRing::Split(ring) => ring.set_used_event(4),
            DriverRing::Packed(ring) => ring.set_driver_event(4 | 1 << 15, 2),
        }
        let interrupts: Vec<_> = (0..8)
            .map(|_| {
                rig.offer(&[], &[1]);
                serve(&mut rig);
                rig.interrupts()
            })
            .collect();
        assert_eq!(interrupts, [0, 0, 0, 0, 1, 1, 1, 1]);
    }
}

#[test]
fn an_armed_device_is_notified_and_a_busy_one_is_not() {
    for features in FORMATS.into_iter().flat_map(|f| [f, f | EVENT_IDX]) {
        let mut rig = Rig::new(8, features);
        for _ in 0..30 {
            assert!(!rig.wake(|queue| queue.arm()), "nothing is there yet");
            rig.driver.add(&rig.segments(&[], &[1])).unwrap();
            assert!(rig.driver.publish(), "armed: {features:?}");
            let Rig {
                memory,
                driver,
                ring,
                interrupts,
                ..
            } = &mut rig;
            let memory: &testkit::Memory = memory;
            let mut queue = virtio_device::Virtqueue::attach(0, ring, memory, interrupts).unwrap();
            let mut chain = Chain::new();
            assert!(queue.pop(&mut chain).unwrap());
            queue.push(&mut chain, 0);
            let one = testkit::Segment {
                address: 0,
                len: 1,
                writable: true,
            };
            driver.add(&[one]).unwrap();
            assert!(!driver.publish(), "busy: {features:?}");
            assert!(queue.arm(), "what came meanwhile is not overlooked");
            assert!(queue.pop(&mut chain).unwrap());
            queue.push(&mut chain, 0);
            assert!(!queue.pop(&mut chain).unwrap());
            drop(queue);
            assert!(ring.is_drained());
            assert_eq!(rig.collect().len(), 2);
        }
    }
}

#[test]
fn arming_shows_the_driver_what_is_done_and_interrupts_once() {
    for features in FORMATS.into_iter().flat_map(|f| [f, f | EVENT_IDX]) {
        let mut rig = Rig::new(8, features);
        rig.offer(&[], &[1]);
        let Rig {
            memory,
            driver,
            ring,
            interrupts,
            ..
        } = &mut rig;
        let memory: &testkit::Memory = memory;
        let mut queue = virtio_device::Virtqueue::attach(0, ring, memory, interrupts).unwrap();
        let mut chain = Chain::new();
        assert!(queue.pop(&mut chain).unwrap());
        queue.push(&mut chain, 0);
        assert!(!driver.has_used(), "not yet: {features:?}");
        assert!(!queue.arm(), "nothing more");
        assert!(driver.has_used(), "{features:?}");
        assert_eq!(interrupts.queue(0), 1);
        drop(queue);
        assert_eq!((rig.interrupts(), rig.collect().len()), (1, 1));
    }
}

/// A worker that only completes what was in flight does not come back for what it never saw.
#[test]
fn a_wake_up_that_takes_nothing_leaves_the_queue_armed() {
    for features in FORMATS.into_iter().flat_map(|f| [f, f | EVENT_IDX]) {
        let mut rig = Rig::new(8, features);
        rig.offer(&[], &[1]);
        let mut chain = rig.pop().unwrap().unwrap();
        assert!(rig.pop().unwrap().is_none());
        assert!(rig.ring.is_drained());
        assert!(!rig.wake(|queue| queue.arm()));
        rig.push(&mut chain, 1);
        rig.driver.add(&rig.segments(&[], &[1])).unwrap();
        assert!(rig.driver.publish(), "armed: {features:?}");
    }
}

#[test]
fn completions_of_a_long_batch_are_seen_before_it_ends() {
    for packed in FORMATS {
        let mut rig = Rig::new(64, packed);
        for _ in 0..64 {
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
        let mut queue = virtio_device::Virtqueue::attach(0, ring, memory, interrupts).unwrap();
        let mut chain = Chain::new();
        for _ in 0..16 {
            assert!(queue.pop(&mut chain).unwrap());
            queue.push(&mut chain, 0);
        }
        assert!(driver.has_used());
        assert_eq!(interrupts.queue(0), 0, "but not interrupted for");
        drop(queue);
        assert_eq!(interrupts.queue(0), 1);
    }
}

/// Chains from before the wake-up and a queueful of it can be two laps of the ring in one batch.
#[test]
fn an_event_two_laps_back_is_not_overlooked() {
    for packed in FORMATS {
        for event in 0..8 {
            let mut rig = Rig::new(8, packed | EVENT_IDX);
            rig.driver.set_interrupts(false);
            match rig.driver.ring_mut() {
                DriverRing::Split(ring) => ring.set_used_event(event),
                DriverRing::Packed(ring) => ring.set_driver_event(event | 1 << 15, 2),
            }
            let mut held = Vec::new();
            for _ in 0..8 {
                rig.offer(&[], &[1]);
                held.push(rig.pop().unwrap().unwrap());
            }
            let one = rig.segments(&[], &[1]);
            let Rig {
                memory,
                driver,
                ring,
                interrupts,
                ..
            } = &mut rig;
            let memory: &testkit::Memory = memory;
            let mut queue = virtio_device::Virtqueue::attach(0, ring, memory, interrupts).unwrap();
            held.iter_mut().for_each(|chain| queue.push(chain, 0));
            for _ in 0..8 {
                driver.collect().unwrap();
                driver.add(&one).unwrap();
                driver.publish();
            }
            let mut chain = Chain::new();
            for _ in 0..8 {
                assert!(queue.pop(&mut chain).unwrap());
                queue.push(&mut chain, 0);
            }
            drop(queue);
            assert_eq!(rig.interrupts(), 1, "{packed:?}, event {event}");
        }
    }
}

/// More chains than 16 bits count, over rings of sizes around which packed ones wrap unevenly.
#[test]
fn counters_wrap() {
    for (size, features) in [
        (8, Features::NONE),
        (8, EVENT_IDX),
        (7, Features::RING_PACKED),
        (7, Features::RING_PACKED | EVENT_IDX),
    ] {
        let mut rig = Rig::new(size, features);
        let segments = rig.segments(&[4], &[4, 4]);
        let mut chain = Chain::new();
        for lap in 0..33_000 {
            for segments in [&segments[..], &segments[1..]] {
                rig.driver.add(segments).unwrap();
                rig.driver.publish();
            }
            rig.wake(|queue| {
                for written in [1, 2] {
                    assert!(queue.pop(&mut chain).unwrap());
                    queue.push(&mut chain, written);
                }
                assert!(!queue.pop(&mut chain).unwrap());
            });
            let used: Vec<_> = rig.collect().into_iter().map(|(_, len)| len).collect();
            assert_eq!(used, [1, 2], "lap {lap}, {features:?}");
        }
        assert_eq!(rig.interrupts(), 33_000);
    }
}
