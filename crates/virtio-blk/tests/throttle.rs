//! Requests that wait because the disk has had its share of the second.

mod common;

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use common::*;
use guest_io::Mode;
use testkit::clock::{Clock, member, requests};
use testkit::{Options, TestBus};
use virtio_blk::virtio_device::Features;
use virtio_blk::{Blk, BlkProps, Limit, Rate, Rates, ThrottleGroup, ThrottleMember, Throttled};

fn boot_at(member: &Arc<ThrottleMember>, ring: Features) -> TestBus {
    // What begins is done: nothing but limits makes these requests wait.
    let image = raw(&image()).mode(Mode::Sync);
    let backend = Throttled::new(image, Arc::clone(member));
    let props = BlkProps::default().num_queues(2);
    let mut bus = TestBus::with(Blk::new(&props, backend).unwrap(), Options::default());
    let device = Features::bit(12) | Features::bit(13) | F_FLUSH;
    bus.boot(Features::VERSION_1 | Features::RING_RESET | device | ring);
    bus
}

fn submit_reads(bus: &mut TestBus, queue: u16, count: usize) {
    for _ in 0..count {
        bus.submit(queue, &[&header(IN, 0)], &[4096, 1]);
    }
    bus.notify(queue);
    bus.run();
}

fn collect(bus: &mut TestBus, queue: u16) -> usize {
    std::iter::from_fn(|| bus.queue(queue).collect()).count()
}

/// What ends in the next second of a clock.
fn count_second(bus: &mut TestBus, clock: &Clock) -> [usize; 2] {
    let mut counts = [0; 2];
    for _ in 0..100 {
        clock.advance(Duration::from_millis(10));
        for (queue, count) in [0, 1].into_iter().zip(&mut counts) {
            // A driver that asks for more is served in passing.
            bus.notify(queue);
            bus.run();
            *count += collect(bus, queue);
        }
    }
    counts
}

#[test]
fn what_waits_is_served_when_its_time_has_come() {
    for ring in all_rings() {
        let group = Arc::new(ThrottleGroup::new(requests(100)));
        let mut bus = boot_at(&member(&group), ring);
        submit_reads(&mut bus, 0, 40);
        let mut done = 0;
        let ended = bus.run_until(|bus| {
            done += collect(bus, 0);
            done == 40
        });
        assert!(ended, "{done} of 40 with {ring:?}");
    }
}

#[test]
fn queues_keep_to_the_limit_together() {
    let clock = Clock::default();
    let mut bus = boot_at(&member(&clock.group(requests(20))), Features::NONE);
    submit_reads(&mut bus, 0, 60);
    submit_reads(&mut bus, 1, 30);
    let at_once = collect(&mut bus, 0) + collect(&mut bus, 1);
    assert_eq!(at_once, 3, "a tenth of a second, and the one that fills it");
    let first = count_second(&mut bus, &clock);
    assert_eq!(first, [10, 10]);
    assert_eq!(count_second(&mut bus, &clock), [10, 10]);
}

#[test]
fn disks_of_a_group_share_its_limit() {
    let clock = Clock::default();
    let group = clock.group(requests(20));
    let mut disks = [(); 2].map(|()| boot_at(&member(&group), Features::NONE));
    let [busy, other] = &mut disks;
    submit_reads(busy, 0, 60);
    submit_reads(other, 0, 20);
    let mut counts = [0; 2];
    for _ in 0..100 {
        clock.advance(Duration::from_millis(10));
        for (bus, count) in disks.iter_mut().zip(&mut counts) {
            bus.notify(0);
            bus.run();
            *count += collect(bus, 0);
        }
    }
    assert_eq!(counts, [10 + 3, 10]);
}

#[test]
fn a_request_of_any_size_gets_in_and_the_next_waits() {
    let clock = Clock::default();
    let bytes = NonZeroU64::new(1).map(|rate| Limit::Total(Rate::new(rate)));
    let rates = Rates {
        bytes,
        ..Rates::default()
    };
    let mut bus = boot_at(&member(&clock.group(rates)), Features::NONE);
    submit_reads(&mut bus, 0, 3);
    assert_eq!(collect(&mut bus, 0), 1);
    assert_eq!(count_second(&mut bus, &clock), [0, 0]);
    clock.advance(Duration::from_secs(4096));
    assert_eq!(count_second(&mut bus, &clock), [1, 0]);
}

#[test]
fn ranges_wait_one_by_one() {
    let clock = Clock::default();
    let mut bus = boot_at(&member(&clock.group(requests(1))), Features::NONE);
    let range = [
        0_u64.to_le_bytes().as_slice(),
        &1_u32.to_le_bytes(),
        &[0; 4],
    ]
    .concat();
    let request = [header(WRITE_ZEROES, 0), range].concat();
    for _ in 0..2 {
        bus.submit(0, &[&request], &[1]);
    }
    bus.notify(0);
    bus.run();
    assert_eq!(collect(&mut bus, 0), 1);
    assert_eq!(count_second(&mut bus, &clock), [1, 0]);
}

#[test]
fn a_stop_does_not_wait_and_loses_nothing() {
    for ring in all_rings() {
        let clock = Clock::default();
        let mut bus = boot_at(&member(&clock.group(requests(1))), ring);
        submit_reads(&mut bus, 0, 20);
        assert_eq!(collect(&mut bus, 0), 1);
        bus.core().pause();
        bus.core().save().unwrap();
        assert_eq!(collect(&mut bus, 0), 19);
        bus.core().resume();
        submit_reads(&mut bus, 0, 2);
        clock.advance(Duration::from_millis(18_800));
        assert_eq!(count_second(&mut bus, &clock), [0, 0], "they were counted");
        assert_eq!(count_second(&mut bus, &clock), [1, 0]);
    }
}

/// Whatever begins is counted, and the next waits the longer.
#[test]
fn resets_let_nothing_through_and_do_not_wait() {
    for ring in all_rings() {
        let clock = Clock::default();
        let mut bus = boot_at(&member(&clock.group(requests(1))), ring);
        submit_reads(&mut bus, 1, 3);
        assert_eq!(collect(&mut bus, 1), 1);
        for _ in 0..3 {
            submit_reads(&mut bus, 0, 10);
            bus.reset_queue(0);
            bus.set_up_queue(0, 64);
            assert_eq!(collect(&mut bus, 1), 0, "another queue goes on waiting");
        }
        for _ in 0..3 {
            submit_reads(&mut bus, 0, 10);
            bus.reset();
            assert!(!bus.needs_reset());
            bus.boot(Features::VERSION_1 | ring);
        }
        submit_reads(&mut bus, 0, 2);
        for (milliseconds, ended) in [(899, 0), (1, 1), (999, 0), (1, 1)] {
            clock.advance(Duration::from_millis(milliseconds));
            bus.notify(0);
            bus.run();
            assert_eq!(collect(&mut bus, 0), ended, "{ring:?}");
        }
    }
}

#[test]
fn a_stop_after_a_queue_reset_loses_nothing() {
    let clock = Clock::default();
    let mut bus = boot_at(&member(&clock.group(requests(1))), Features::NONE);
    submit_reads(&mut bus, 0, 5);
    bus.reset_queue(0);
    bus.set_up_queue(0, 64);
    submit_reads(&mut bus, 0, 5);
    bus.core().pause();
    assert_eq!(collect(&mut bus, 0), 5);
}

#[test]
fn a_device_that_goes_lets_others_have_their_turn() {
    let clock = Clock::default();
    let group = clock.group(requests(1));
    let mut disks = [(); 2].map(|()| boot_at(&member(&group), Features::NONE));
    disks.iter_mut().for_each(|bus| submit_reads(bus, 0, 3));
    let [first, mut second] = disks;
    drop(first);
    clock.advance(Duration::from_secs(3));
    assert_eq!(
        count_second(&mut second, &clock),
        [2, 0],
        "now, and in 900 ms"
    );
}

#[test]
fn limits_change_while_requests_wait() {
    let clock = Clock::default();
    let (group, other) = (clock.group(requests(1)), clock.group(requests(1)));
    let member = member(&group);
    let mut bus = boot_at(&member, Features::NONE);
    submit_reads(&mut bus, 0, 20);
    assert_eq!(collect(&mut bus, 0), 1);
    let mut wait_for = |expected| {
        let mut done = 0;
        bus.run_until(|bus| {
            done += collect(bus, 0);
            done >= expected
        });
        done
    };
    // The worker is woken by the change: time stands still, and nobody notifies it.
    group.set_rates(requests(30));
    assert_eq!(wait_for(4), 4);
    member.join(Some(other));
    assert_eq!(wait_for(1), 1);
    member.join(None);
    assert_eq!(wait_for(14), 14);
}
