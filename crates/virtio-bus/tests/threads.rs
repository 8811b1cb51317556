//! Workers on threads of their own.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use testkit::{Knobs, PATIENCE, Segment, Space, TestBus, Toy};
use virtio_bus::{Runner, SharedThread, Status, ThreadRunner};
use virtio_device::Features;

const MODERN: Features = Features::VERSION_1;

fn threaded(runner: ThreadRunner) -> (TestBus, Arc<Knobs>) {
    on(Arc::new(runner))
}

fn on(runner: Arc<dyn Runner<Space>>) -> (TestBus, Arc<Knobs>) {
    let (toy, knobs) = Toy::new(2, &[&[0], &[1]]);
    (TestBus::on(toy, runner), knobs)
}

fn hold_one(bus: &mut TestBus, knobs: &Knobs) {
    Knobs::set(&knobs.hold, true);
    bus.submit(0, &[b"held"], &[4]);
    assert!(bus.run_until(|_| Knobs::count(&knobs.held) == 1));
}

/// Past bug 40.
#[test]
fn a_reset_waits_for_what_is_in_flight() {
    let (mut bus, knobs) = threaded(ThreadRunner::new("toy"));
    bus.boot(MODERN);
    hold_one(&mut bus, &knobs);
    bus.core().write_status(Status::RESET);
    for _ in 0..20 {
        assert_ne!(bus.core().status(), Status::RESET, "in flight");
        assert!(bus.core().is_resetting());
        std::thread::sleep(Duration::from_millis(1));
    }
    // Meanwhile the driver can do nothing.
    bus.core().write_status(Status::ACKNOWLEDGE);
    bus.core().enable_queue(1);
    bus.notify(0);
    assert!(!bus.queue(0).has_used());
    knobs.release();
    assert!(bus.run_until(|bus| bus.core().status() == Status::RESET));
    assert!(bus.queue(0).has_used(), "posted before the reset was over");
    bus.queue(0).collect().unwrap();
    std::thread::sleep(Duration::from_millis(5));
    assert!(!bus.queue(0).has_used(), "and nothing after");
    assert_eq!(Knobs::count(&knobs.returned), 2);
}

#[test]
fn waiting_for_a_reset_ends_it() {
    let (mut bus, knobs) = threaded(ThreadRunner::new("toy"));
    bus.boot(MODERN);
    hold_one(&mut bus, &knobs);
    bus.core().write_status(Status::RESET);
    let later = knobs.clone();
    let helper = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        later.release();
    });
    bus.core().wait_reset();
    assert_eq!(bus.core().status(), Status::RESET);
    helper.join().unwrap();
}

/// The listener runs on the thread that ends, and may itself complete the reset.
#[test]
fn whoever_wants_to_know_is_told_of_the_end_of_a_reset() {
    let (mut bus, knobs) = threaded(ThreadRunner::new("toy"));
    bus.boot(MODERN);
    hold_one(&mut bus, &knobs);
    assert!(!bus.core().when_reset(|| unreachable!("nothing is reset")));
    bus.core().write_status(Status::RESET);
    let bus = Arc::new(Mutex::new(bus));
    let (told, listener) = (mpsc::channel(), bus.clone());
    let then = move || {
        let status = listener.lock().unwrap().core().status();
        told.0.send((status, std::thread::current().id())).unwrap();
    };
    assert!(bus.lock().unwrap().core().when_reset(then));
    assert!(told.1.recv_timeout(Duration::from_millis(20)).is_err());
    knobs.release();
    let (status, thread) = told.1.recv_timeout(PATIENCE).unwrap();
    assert_eq!(status, Status::RESET);
    assert_ne!(thread, std::thread::current().id());
    let mut bus = bus.lock().unwrap();
    assert!(!bus.core().when_reset(|| unreachable!("it is over")));
    assert_eq!(Knobs::count(&knobs.returned), 2);
    bus.boot(MODERN);
}

#[test]
fn a_worker_that_panicked_ends_a_reset_as_well() {
    let (mut bus, _) = threaded(ThreadRunner::new("toy"));
    bus.boot(MODERN);
    bus.submit(0, &[b"P"], &[1]);
    bus.core().write_status(Status::RESET);
    let (end, ended) = mpsc::channel();
    if bus.core().when_reset(move || end.send(()).unwrap()) {
        ended.recv_timeout(PATIENCE).unwrap();
    }
    assert_eq!(bus.core().status(), Status::RESET);
}

#[test]
fn dropping_the_core_drains() {
    let (mut bus, knobs) = threaded(ThreadRunner::new("toy"));
    bus.boot(MODERN);
    hold_one(&mut bus, &knobs);
    let memory = bus.memory().clone();
    let used = bus.queue(0).config().device;
    let later = knobs.clone();
    let helper = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        later.release();
    });
    drop(bus);
    helper.join().unwrap();
    let index: u16 = testkit::Ram(memory).load(used + 2);
    assert_eq!(
        u16::from_le(index),
        1,
        "completed before the worker was gone"
    );
    assert_eq!(Knobs::count(&knobs.returned), 2);
}

/// Neither the order to stop nor a driver that goes on notifying keeps a processor busy.
#[test]
fn a_worker_that_drains_sleeps() {
    let (mut bus, knobs) = threaded(ThreadRunner::new("toy"));
    bus.boot(MODERN);
    hold_one(&mut bus, &knobs);
    let fd = bus.core().kicks().fds()[0].clone();
    let start = Instant::now();
    bus.core().write_status(Status::RESET);
    fd.write(1).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    knobs.release();
    assert!(bus.run_until(|bus| bus.core().status() == Status::RESET));
    let quiesced = Knobs::count(&knobs.quiesced);
    let time = start.elapsed();
    assert!(
        u128::from(quiesced) < time.as_millis(),
        "asked {quiesced} times in {time:?}"
    );
}

#[test]
fn a_pause_drains_and_a_resume_goes_on() {
    let (mut bus, knobs) = threaded(ThreadRunner::new("toy"));
    bus.boot(MODERN);
    for _ in 0..20 {
        hold_one(&mut bus, &knobs);
        knobs.release();
        Knobs::set(&knobs.hold, false);
        bus.core().pause();
        assert!(bus.queue(0).collect().is_some());
        let paused = bus.submit(1, &[b"later"], &[5]);
        std::thread::sleep(Duration::from_millis(1));
        assert!(!bus.queue(1).has_used());
        bus.core().resume();
        assert!(bus.run_until(|bus| bus.queue(1).has_used()));
        let used = bus.queue(1).collect().unwrap();
        assert_eq!(bus.response(&paused, used).bytes, b"later");
    }
}

#[test]
fn a_panic_in_a_worker_is_not_the_end() {
    let (mut bus, knobs) = threaded(ThreadRunner::new("toy"));
    bus.boot(MODERN);
    bus.submit(0, &[b"P"], &[1]);
    assert_eq!(bus.request(1, &[b"alive"], &[5]).bytes, b"alive");
    bus.reset();
    bus.boot(MODERN);
    assert_eq!(bus.request(0, &[b"again"], &[5]).bytes, b"again");
    assert_eq!(Knobs::count(&knobs.activations), 2);
}

#[test]
fn every_thread_does_its_start_up() {
    let count = Arc::new(AtomicU32::new(0));
    let seen = count.clone();
    let runner = ThreadRunner::new("a name of more than fifteen bytes").on_start(move || {
        let name = std::thread::current().name().map(str::to_owned);
        assert_eq!(name.as_deref(), Some("a name of more than fifteen bytes"));
        seen.fetch_add(1, Ordering::SeqCst);
    });
    let (mut bus, _) = threaded(runner);
    bus.boot(MODERN);
    bus.request(0, &[b"x"], &[1]);
    bus.request(1, &[b"x"], &[1]);
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

/// A driver on its own processor, that notifies only if asked to and sleeps until interrupted:
/// one wake-up lost in either direction, and it hangs.
#[test]
fn no_wake_up_is_lost() {
    for features in [Features::NONE, Features::RING_PACKED] {
        for features in [features, features | Features::EVENT_IDX] {
            for poll in [Duration::ZERO, Duration::from_micros(50)] {
                for (runner, requests) in runners(poll) {
                    let (mut bus, _) = on(runner);
                    bus.boot(MODERN | features);
                    drive(&mut bus, requests);
                }
            }
        }
    }
}

/// The same, with a back-end that completes when it likes.
#[test]
fn no_wake_up_is_lost_while_requests_are_in_flight() {
    for features in [Features::NONE, Features::RING_PACKED] {
        for features in [features, features | Features::EVENT_IDX] {
            for (runner, requests) in runners(Duration::from_millis(1)) {
                let (mut bus, knobs) = on(runner);
                bus.boot(MODERN | features);
                drive_held(&mut bus, &knobs, requests / 2);
            }
        }
    }
}

fn drive_held(bus: &mut TestBus, knobs: &Arc<Knobs>, requests: u32) {
    Knobs::set(&knobs.hold, true);
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, back_end) = (stop.clone(), knobs.clone());
    let back_end = std::thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            if Knobs::count(&back_end.held) > 0 {
                back_end.release();
            }
            std::thread::yield_now();
        }
    });
    drive(bus, requests);
    stop.store(true, Ordering::Relaxed);
    back_end.join().unwrap();
}

/// Runners, and for how many requests they are to be driven.
fn runners(poll: Duration) -> [(Arc<dyn Runner<Space>>, u32); 2] {
    let (shared, work) = SharedThread::new(poll).unwrap();
    std::thread::spawn(work);
    let own = ThreadRunner::new("toy").poll(poll);
    [(Arc::new(own), REQUESTS), (Arc::new(shared), REQUESTS / 4)]
}

fn drive(bus: &mut TestBus, requests: u32) {
    let chains: Vec<_> = (0..16).map(|i| chain(bus, i)).collect();
    let (mut sent, mut done, mut random) = (0_u32, 0_u32, 1_u32);
    while done < requests {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        for _ in 0..((random >> 16) % 16 + 1).min(requests - sent) {
            if bus.queue(0).add(&chains[sent as usize % 16]).is_none() {
                break;
            }
            sent += 1;
        }
        if bus.queue(0).publish() {
            bus.notify(0);
        }
        match random >> 30 {
            0 => sleep_until_used(bus),
            // Refills as soon as it can, while the device is about to go to sleep.
            _ => spin_until_used(bus),
        }
        while bus.queue(0).collect().is_some() {
            done += 1;
        }
    }
    let left = bus.queue(0).in_flight();
    assert_eq!((sent, done, left), (requests, requests, 0));
}

/// As a driver does: no interrupts while busy, one when idle.
fn sleep_until_used(bus: &mut TestBus) {
    let before = bus.interrupts().queue(0);
    if !bus.queue(0).set_interrupts(true) {
        wait_for(|| bus.interrupts().queue(0) != before);
    }
    bus.queue(0).set_interrupts(false);
}

fn spin_until_used(bus: &mut TestBus) {
    wait_for(|| bus.queue(0).has_used());
}

fn wait_for(mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    let mut spins = 0_u32;
    while !done() {
        spins += 1;
        if spins.is_multiple_of(1024) {
            let waited = start.elapsed();
            assert!(waited < PATIENCE, "a wake-up was lost");
            std::thread::yield_now();
        }
    }
}

/// One descriptor or two, so that a wake-up can have more than its share.
fn chain(bus: &TestBus, i: u32) -> Vec<Segment> {
    let segment = |writable| Segment {
        address: bus.heap().alloc(8, 8),
        len: 4 + i % 4,
        writable,
    };
    let readable = i.is_multiple_of(4).then(|| segment(false));
    readable.into_iter().chain([segment(true)]).collect()
}

/// Of each of eight kinds.
const REQUESTS: u32 = 13_000;
