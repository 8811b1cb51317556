//! VIRTIO_F_RING_RESET with workers that own several queues and have requests in flight.

use std::sync::Arc;

use testkit::{Knobs, TestBus, Toy};
use virtio_bus::ThreadRunner;
use virtio_device::Features;

const FEATURES: Features = Features::VERSION_1.with(Features::RING_RESET);

fn threaded(groups: &[&[u16]]) -> (TestBus, Arc<Knobs>) {
    let (toy, knobs) = Toy::new(3, groups);
    (TestBus::on(toy, Arc::new(ThreadRunner::new("toy"))), knobs)
}

fn echo(bus: &mut TestBus, queue: u16) {
    assert_eq!(bus.request(queue, &[b"echo"], &[4]).bytes, b"echo");
}

fn wait(bus: &mut TestBus, mut done: impl FnMut(&mut TestBus) -> bool) {
    assert!(bus.run_until(|bus| done(bus)));
}

fn resetting(bus: &mut TestBus, queue: u16) -> bool {
    bus.core().queue(queue).unwrap().resetting
}

#[test]
fn a_queue_is_reset_once_its_requests_are_drained() {
    for groups in [&[&[0, 1, 2][..]][..], &[&[0, 1], &[2]], &[&[0], &[1], &[2]]] {
        let (mut bus, knobs) = threaded(groups);
        bus.boot(FEATURES);
        Knobs::set(&knobs.hold, true);
        bus.submit(0, &[b"held"], &[4]);
        bus.submit(1, &[b"also"], &[4]);
        wait(&mut bus, |_| Knobs::count(&knobs.held) == 2);
        bus.core().reset_queue(0);
        assert!(resetting(&mut bus, 0) && !resetting(&mut bus, 1));
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(resetting(&mut bus, 0), "still in flight");
        assert!(!bus.queue(0).has_used());
        Knobs::set(&knobs.hold, false);
        knobs.release();
        wait(&mut bus, |bus| !resetting(bus, 0));
        assert!(bus.queue(0).has_used(), "drained, not dropped");
        wait(&mut bus, |bus| bus.queue(1).has_used());
        bus.queue(1).collect().unwrap();
        echo(&mut bus, 1);
        echo(&mut bus, 2);
        bus.set_up_queue(0, 4);
        echo(&mut bus, 0);
        assert!(!bus.needs_reset());
    }
}

#[test]
fn queues_of_one_worker_are_reset_at_once() {
    let (mut bus, knobs) = threaded(&[&[0, 1, 2]]);
    bus.boot(FEATURES);
    for _ in 0..20 {
        Knobs::set(&knobs.hold, true);
        for queue in 0..3 {
            bus.submit(queue, &[b"held"], &[4]);
        }
        wait(&mut bus, |_| Knobs::count(&knobs.held) == 3);
        bus.core().reset_queue(0);
        bus.core().reset_queue(2);
        assert!(resetting(&mut bus, 0) && resetting(&mut bus, 2));
        Knobs::set(&knobs.hold, false);
        knobs.release();
        wait(&mut bus, |bus| !resetting(bus, 0) && !resetting(bus, 2));
        wait(&mut bus, |bus| bus.queue(1).has_used());
        bus.queue(1).collect().unwrap();
        echo(&mut bus, 1);
        for queue in [2, 0] {
            bus.set_up_queue(queue, 16);
            echo(&mut bus, queue);
        }
    }
    assert_eq!(
        Knobs::count(&knobs.activations),
        1,
        "the device was not restarted"
    );
    assert_eq!(bus.interrupts().config(), 0);
}

#[test]
fn a_device_reset_overtakes_a_queue_reset() {
    let (mut bus, knobs) = threaded(&[&[0, 1, 2]]);
    bus.boot(FEATURES);
    Knobs::set(&knobs.hold, true);
    bus.submit(0, &[b"held"], &[4]);
    wait(&mut bus, |_| Knobs::count(&knobs.held) == 1);
    bus.core().reset_queue(0);
    bus.core().write_status(virtio_bus::Status::RESET);
    Knobs::set(&knobs.hold, false);
    knobs.release();
    // A driver that goes on polling the queue does not put its worker back to work.
    for _ in 0..50 {
        bus.core().queue(0);
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    bus.reset();
    bus.boot(FEATURES);
    (0..3).for_each(|queue| echo(&mut bus, queue));
}

#[test]
fn a_pause_overtakes_a_queue_reset() {
    let (mut bus, knobs) = threaded(&[&[0, 1, 2]]);
    bus.boot(FEATURES);
    Knobs::set(&knobs.hold, true);
    bus.submit(0, &[b"held"], &[4]);
    wait(&mut bus, |_| Knobs::count(&knobs.held) == 1);
    bus.core().reset_queue(0);
    knobs.release();
    Knobs::set(&knobs.hold, false);
    bus.core().pause();
    let state = bus.core().save().unwrap();
    assert!(!state.queues[0].enabled && state.queues[1].enabled);
    bus.core().resume();
    assert!(!resetting(&mut bus, 0));
    bus.set_up_queue(0, 16);
    (0..3).for_each(|queue| echo(&mut bus, queue));
}

#[test]
fn a_queue_that_no_worker_serves_is_reset_as_well() {
    let mut bus = TestBus::new(Toy::new(2, &[&[0]]).0);
    bus.boot(FEATURES);
    bus.reset_queue(1);
    assert!(!bus.needs_reset());
    echo(&mut bus, 0);
}

/// Such as one that was being reset when its guest moved here.
#[test]
fn a_queue_that_was_off_at_the_start_finds_a_worker() {
    let (mut bus, knobs) = threaded(&[&[0], &[1, 2]]);
    Knobs::set(&knobs.frugal, true);
    assert!(bus.negotiate(FEATURES));
    bus.set_up_queue(0, 16);
    bus.set_up_queue(1, 16);
    bus.driver_ok();
    let early = bus.submit(0, &[b"echo"], &[4]);
    bus.set_up_queue(2, 16);
    assert!(bus.kicks_assigned());
    wait(&mut bus, |bus| bus.queue(0).has_used());
    let used = bus.queue(0).collect().unwrap();
    assert_eq!(bus.response(&early, used).bytes, b"echo");
    (0..3).for_each(|queue| echo(&mut bus, queue));
    assert!(!bus.needs_reset());
}

#[test]
fn a_worker_that_died_does_not_keep_its_queues() {
    let (mut bus, _) = threaded(&[&[0], &[1, 2]]);
    bus.boot(FEATURES);
    bus.submit(0, &[b"P"], &[4]);
    bus.reset_queue(0);
    assert!(bus.needs_reset());
    echo(&mut bus, 1);
    bus.reset();
    bus.boot(FEATURES);
    (0..3).for_each(|queue| echo(&mut bus, queue));
}
