//! Waiting until the threads of runners have nothing to do.

use std::sync::{Arc, mpsc};
use std::thread::spawn;
use std::time::Duration;

use testkit::{Knobs, Space, TestBus, Toy};
use virtio_bus::{Activity, Runner, SharedThread, Status, ThreadRunner};
use virtio_device::Features;

fn booted(runner: Arc<dyn Runner<Space>>) -> (TestBus, Arc<Knobs>) {
    let (toy, knobs) = Toy::new(2, &[&[0], &[1]]);
    let mut bus = TestBus::on(toy, runner);
    bus.boot(Features::VERSION_1);
    (bus, knobs)
}

/// The same, with a request that it has seen and not answered.
fn holding(runner: Arc<dyn Runner<Space>>, activity: &Activity) -> (TestBus, Arc<Knobs>) {
    let (mut bus, knobs) = booted(runner);
    Knobs::set(&knobs.hold, true);
    bus.submit(0, &[b"held"], &[4]);
    assert!(activity.settle(DEADLINE));
    assert_eq!(Knobs::count(&knobs.held), 1, "seen");
    (bus, knobs)
}

fn thread(activity: &Activity, poll: Duration) -> Arc<dyn Runner<Space>> {
    Arc::new(ThreadRunner::new("toy").poll(poll).activity(activity))
}

fn shared(activity: &Activity, poll: Duration) -> Arc<dyn Runner<Space>> {
    let (runner, work) = SharedThread::with_activity(poll, Some(activity)).unwrap();
    spawn(work);
    Arc::new(runner)
}

/// What a driver has notified its device of is answered when the threads sleep, whichever thread
/// of which runner has it.
#[test]
fn what_was_notified_has_been_served() {
    for poll in [Duration::ZERO, Duration::from_micros(50)] {
        let activity = Activity::new().unwrap();
        let shared = shared(&activity, poll);
        let runners = [thread(&activity, poll), Arc::clone(&shared), shared];
        let mut devices = runners.map(|runner| booted(runner).0);
        for round in 0..2000_usize {
            let (bus, queue) = (&mut devices[round % 3], (round / 3 % 2) as u16);
            bus.submit(queue, &[b"seen"], &[4]);
            assert!(activity.settle(DEADLINE));
            assert!(bus.queue(queue).collect().is_some(), "round {round}");
        }
    }
}

#[test]
fn the_answer_of_another_device_is_not_waited_for() {
    let activity = Activity::new().unwrap();
    for runner in [thread, shared].map(|runner| runner(&activity, Duration::ZERO)) {
        let (mut bus, knobs) = holding(runner, &activity);
        assert!(!bus.queue(0).has_used(), "in flight");
        knobs.release();
        assert!(activity.settle(DEADLINE));
        assert!(bus.queue(0).has_used());
    }
}

/// A driver that asks for a reset need not ask for its end.
#[test]
fn a_job_that_drains_is_waited_for() {
    let activity = Activity::new().unwrap();
    for runner in [thread, shared].map(|runner| runner(&activity, Duration::ZERO)) {
        let (mut bus, knobs) = holding(runner, &activity);
        bus.core().write_status(Status::RESET);
        assert!(!activity.settle(Duration::from_millis(50)), "in flight");
        knobs.release();
        assert!(activity.settle(DEADLINE));
        assert_eq!(bus.core().status(), Status::RESET);
    }
}

#[test]
fn a_thread_at_work_is_waited_for_until_the_limit() {
    let activity = Activity::new().unwrap();
    let (go, gate) = mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let runner = ThreadRunner::new("toy").activity(&activity);
    let runner = runner.on_start(move || assert!(gate.lock().unwrap().recv().is_err()));
    let (mut bus, _) = booted(Arc::new(runner));
    bus.submit(1, &[b"late"], &[4]);
    assert!(!activity.settle(Duration::ZERO));
    assert!(!activity.settle(Duration::from_millis(20)));
    drop(go);
    assert!(activity.settle(DEADLINE));
    assert!(bus.queue(1).has_used());
}

/// Nobody waits for a thread that has ended, or that will never be.
#[test]
fn who_has_left_is_not_waited_for() {
    let activity = Activity::new().unwrap();
    assert!(activity.settle(Duration::ZERO), "nobody has come");
    for runner in [thread, shared].map(|runner| runner(&activity, Duration::ZERO)) {
        let (mut panics, _) = booted(Arc::clone(&runner));
        let (mut ends, _) = booted(runner);
        panics.submit(0, &[b"P"], &[1]);
        assert!(activity.settle(DEADLINE));
        ends.reset();
        assert!(activity.settle(DEADLINE));
    }
    let unstarted = SharedThread::<Space>::with_activity(Duration::ZERO, Some(&activity));
    let (runner, work) = unstarted.unwrap();
    assert!(activity.settle(DEADLINE), "not started");
    drop(work);
    drop(runner);
    assert!(activity.settle(DEADLINE));
}

const DEADLINE: Duration = Duration::from_secs(20);
