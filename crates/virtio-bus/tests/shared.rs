//! Many workers on one thread.

use std::sync::{Arc, mpsc};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use testkit::{Knobs, PATIENCE, Space, TestBus, Toy};
use virtio_bus::{SharedThread, Status};
use virtio_device::Features;

type Runner = Arc<SharedThread<Space>>;

/// A runner, and its thread.
fn shared() -> (Runner, JoinHandle<()>) {
    let (runner, work) = SharedThread::new(Duration::from_micros(50)).unwrap();
    (Arc::new(runner), spawn(work))
}

/// A device of two workers on `runner`.
fn new_device(runner: &Runner) -> (TestBus, Arc<Knobs>) {
    let (toy, knobs) = Toy::new(2, &[&[0], &[1]]);
    (TestBus::on(toy, runner.clone()), knobs)
}

/// The same, ready for requests.
fn device(runner: &Runner) -> (TestBus, Arc<Knobs>) {
    let (mut bus, knobs) = new_device(runner);
    bus.boot(Features::VERSION_1);
    (bus, knobs)
}

/// A driver that expects the device not to start.
fn boot_in_vain(bus: &mut TestBus) {
    assert!(bus.negotiate(Features::VERSION_1));
    bus.set_up_queue(0, 16);
    bus.driver_ok();
    assert!(bus.needs_reset());
}

fn hold_one(bus: &mut TestBus, knobs: &Knobs) {
    Knobs::set(&knobs.hold, true);
    bus.submit(0, &[b"held"], &[4]);
    assert!(bus.run_until(|_| Knobs::count(&knobs.held) == 1));
}

#[test]
fn workers_of_all_devices_are_served() {
    let (runner, _thread) = shared();
    let mut devices: Vec<_> = (0..20).map(|_| device(&runner)).collect();
    for round in 0..50_u8 {
        for (bus, _) in &mut devices {
            let queue = u16::from(round % 2);
            assert_eq!(bus.request(queue, &[&[round]], &[1]).bytes, [round]);
        }
    }
}

/// The thread does not wait with the one that leaves.
#[test]
fn others_go_on_while_one_is_reset() {
    let (runner, _thread) = shared();
    let ((mut leaving, knobs), (mut other, _)) = (device(&runner), device(&runner));
    hold_one(&mut leaving, &knobs);
    leaving.core().write_status(Status::RESET);
    for _ in 0..50 {
        assert_eq!(other.request(0, &[b"alive"], &[5]).bytes, b"alive");
        assert_ne!(leaving.core().status(), Status::RESET, "in flight");
    }
    let (start, quiesced) = (Instant::now(), Knobs::count(&knobs.quiesced));
    std::thread::sleep(Duration::from_millis(100));
    let often = Knobs::count(&knobs.quiesced) - quiesced;
    let time = start.elapsed();
    assert!(
        u128::from(often) < time.as_millis(),
        "asked {often} times in {time:?}"
    );
    knobs.release();
    assert!(leaving.run_until(|bus| bus.core().status() == Status::RESET));
    assert!(leaving.queue(0).has_used(), "posted before it was over");
    assert_eq!(Knobs::count(&knobs.returned), 2);
    leaving.boot(Features::VERSION_1);
    Knobs::set(&knobs.hold, false);
    assert_eq!(leaving.request(1, &[b"again"], &[5]).bytes, b"again");
}

/// A worker that is asked for more and more gets no more than its turn.
#[test]
fn others_are_served_beside_one_that_is_never_idle() {
    let (runner, _thread) = shared();
    let ((mut busy, _), (mut other, _)) = (device(&runner), device(&runner));
    for _ in 0..200 {
        while busy.queue(0).free() > 1 {
            busy.submit(0, &[b"more"], &[4]);
        }
        assert_eq!(other.request(1, &[b"turn"], &[4]).bytes, b"turn");
        while busy.queue(0).collect().is_some() {}
    }
}

#[test]
fn the_end_of_a_reset_is_told_by_the_thread() {
    let (runner, thread) = shared();
    let (mut bus, knobs) = device(&runner);
    hold_one(&mut bus, &knobs);
    bus.core().write_status(Status::RESET);
    let (told, hears) = mpsc::channel();
    let then = move || told.send(std::thread::current().id()).unwrap();
    assert!(bus.core().when_reset(then));
    assert!(hears.recv_timeout(Duration::from_millis(20)).is_err());
    knobs.release();
    assert_eq!(hears.recv_timeout(PATIENCE).unwrap(), thread.thread().id());
    assert_eq!(bus.core().status(), Status::RESET);
}

#[test]
fn the_thread_ends_with_the_runner_and_the_last_job() {
    let (runner, thread) = shared();
    let (bus, knobs) = device(&runner);
    let (mut last, _) = device(&runner);
    drop((runner, bus));
    assert_eq!(Knobs::count(&knobs.returned), 2);
    assert_eq!(last.request(0, &[b"last"], &[4]).bytes, b"last");
    assert!(!thread.is_finished());
    drop(last);
    thread.join().unwrap();
}

/// A host without a thread to give: the driver is told, and the workers are not lost.
#[test]
fn without_a_thread_nothing_starts() {
    let (runner, work) = SharedThread::new(Duration::ZERO).unwrap();
    drop(work);
    let (mut bus, knobs) = new_device(&Arc::new(runner));
    boot_in_vain(&mut bus);
    bus.reset();
    assert_eq!(Knobs::count(&knobs.returned), 2);
}

/// A panic takes all down, but nobody waits for those who were there.
#[test]
fn a_panic_ends_what_is_on_the_thread() {
    let (runner, thread) = shared();
    let ((mut first, _), (mut second, _)) = (device(&runner), device(&runner));
    first.submit(0, &[b"P"], &[1]);
    assert!(thread.join().is_err());
    for bus in [&mut first, &mut second] {
        bus.reset();
        boot_in_vain(bus);
    }
}
