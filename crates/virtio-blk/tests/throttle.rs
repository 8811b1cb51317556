//! Requests that wait because the disk has had its share of the second.

mod common;

use std::num::NonZeroU64;

use common::*;
use testkit::{Options, TestBus};
use virtio_blk::virtio_device::Features;
use virtio_blk::{Blk, BlkProps, Rate, Rates, Throttle};

fn per_second(rate: u64) -> Option<Rate> {
    NonZeroU64::new(rate).map(Rate::new)
}

fn boot_at(rates: Rates, ring: Features) -> TestBus {
    let device = Blk::new(&BlkProps::default(), raw(&image())).unwrap();
    let throttle = Throttle::new(rates).unwrap();
    let mut bus = TestBus::with(device.throttled(throttle), Options::default());
    bus.boot(Features::VERSION_1 | Features::RING_RESET | F_FLUSH | ring);
    bus
}

/// So slow that what waits will not be served while a test runs.
fn hardly_any() -> Rates {
    Rates {
        bytes: per_second(1),
        ..Rates::default()
    }
}

fn submit_reads(bus: &mut TestBus, count: usize) {
    for _ in 0..count {
        bus.submit(0, &[&header(IN, 0)], &[4096, 1]);
    }
    bus.run();
}

fn collect(bus: &mut TestBus) -> usize {
    std::iter::from_fn(|| bus.queue(0).collect()).count()
}

#[test]
fn what_waits_is_served_when_its_time_has_come() {
    for ring in all_rings() {
        let operations = per_second(100);
        let rates = Rates {
            operations,
            ..Rates::default()
        };
        let mut bus = boot_at(rates, ring);
        submit_reads(&mut bus, 40);
        let mut done = 0;
        let ended = bus.run_until(|bus| {
            done += collect(bus);
            done == 40
        });
        assert!(ended, "{done} of 40 with {ring:?}");
    }
}

#[test]
fn a_request_of_any_size_gets_in_and_the_next_waits() {
    let mut bus = boot_at(hardly_any(), Features::NONE);
    submit_reads(&mut bus, 3);
    for _ in 0..10 {
        bus.run();
    }
    assert_eq!(collect(&mut bus), 1);
}

#[test]
fn reset_does_not_wait_for_what_waits() {
    let mut bus = boot_at(hardly_any(), Features::NONE);
    submit_reads(&mut bus, 3);
    bus.reset_queue(0);
    bus.reset();
    assert!(!bus.needs_reset());
}
