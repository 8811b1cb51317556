//! Jobs as subscribers of rust-vmm's event-manager.
#![cfg(feature = "event-manager")]

use std::sync::{Arc, Mutex};

use event_manager::{EventManager, MutEventSubscriber, SubscriberId, SubscriberOps};
use testkit::{Knobs, Space, TestBus, Toy};
use virtio_bus::{Job, JobSubscriber, NotStarted, Runner, Running};
use virtio_device::Features;

type Subscriber = Arc<Mutex<Slot>>;
type Manager = Arc<Mutex<EventManager<Subscriber>>>;

/// Empty once it has been joined.
struct Slot(Option<JobSubscriber<Space>>);

impl MutEventSubscriber for Slot {
    fn init(&mut self, ops: &mut event_manager::EventOps<'_>) {
        self.0.iter_mut().for_each(|job| job.init(ops));
    }

    fn process(&mut self, events: event_manager::Events, ops: &mut event_manager::EventOps<'_>) {
        self.0.iter_mut().for_each(|job| job.process(events, ops));
    }
}

/// All jobs on one event loop, which the test runs.
struct LoopRunner(Manager);

struct OnLoop {
    manager: Manager,
    id: SubscriberId,
}

impl Runner<Space> for LoopRunner {
    fn start(&self, job: Job<Space>) -> Result<Box<dyn Running<Space>>, NotStarted<Space>> {
        let subscriber = Arc::new(Mutex::new(Slot(Some(JobSubscriber::new(job)?))));
        let id = self.0.lock().unwrap().add_subscriber(subscriber);
        let manager = self.0.clone();
        Ok(Box::new(OnLoop { manager, id }))
    }
}

impl Running<Space> for OnLoop {
    fn stop(&self) {}

    fn is_stopped(&self) -> bool {
        true
    }

    fn when_stopped(&self, then: Box<dyn FnOnce() + Send>) {
        then();
    }

    fn join(self: Box<Self>) -> Option<Job<Space>> {
        let mut manager = self.manager.lock().unwrap();
        let subscriber = manager.remove_subscriber(self.id).ok()?;
        let job = subscriber.lock().unwrap().0.take()?;
        job.into_job().ok()
    }
}

fn on_loop(groups: &[&[u16]]) -> (TestBus, Manager, Arc<Knobs>) {
    let manager: Manager = Arc::new(Mutex::new(EventManager::new().unwrap()));
    let (toy, knobs) = Toy::new(2, groups);
    let bus = TestBus::on(toy, Arc::new(LoopRunner(manager.clone())));
    (bus, manager, knobs)
}

/// Runs the loop until it has nothing more to do.
fn run(manager: &Manager) -> usize {
    let mut events = 0;
    loop {
        let count = manager.lock().unwrap().run_with_timeout(0).unwrap();
        events += count;
        if count == 0 {
            return events;
        }
        assert!(events < 100_000, "it spins");
    }
}

#[test]
fn requests_are_served_on_the_loop() {
    for features in [Features::NONE, Features::EVENT_IDX, Features::RING_PACKED] {
        let (mut bus, manager, _) = on_loop(&[&[0], &[1]]);
        bus.boot(Features::VERSION_1 | features);
        run(&manager);
        for round in 0..100 {
            let queue = round % 2;
            let request = bus.submit(queue, &[b"echo"], &[4]);
            assert!(run(&manager) > 0, "{features:?} {round}");
            let used = bus.queue(queue).collect().unwrap();
            assert_eq!(bus.response(&request, used).bytes, b"echo");
        }
        assert_eq!(run(&manager), 0, "at rest");
    }
}

#[test]
fn more_than_one_wake_up_takes_is_served() {
    let (mut bus, manager, _) = on_loop(&[&[0, 1]]);
    bus.boot(Features::VERSION_1 | Features::EVENT_IDX);
    for _ in 0..50 {
        for queue in 0..2 {
            while bus.queue(queue).free() > 1 {
                bus.submit(queue, &[b"x"], &[1]);
            }
        }
        run(&manager);
        for queue in 0..2 {
            while bus.queue(queue).collect().is_some() {}
            assert_eq!(bus.queue(queue).in_flight(), 0);
        }
    }
}

#[test]
fn a_worker_that_failed_is_not_watched_for() {
    let (mut bus, manager, knobs) = on_loop(&[&[0], &[1]]);
    bus.boot(Features::VERSION_1);
    bus.submit(0, &[b"F"], &[1]);
    run(&manager);
    knobs.release();
    run(&manager);
    assert_eq!(run(&manager), 0, "at rest");
    assert!(bus.needs_reset());
}

#[test]
fn sources_are_watched_and_joined_jobs_drained() {
    let (mut bus, manager, knobs) = on_loop(&[&[0], &[1]]);
    bus.boot(Features::VERSION_1);
    Knobs::set(&knobs.hold, true);
    bus.submit(0, &[b"held"], &[4]);
    run(&manager);
    assert!(!bus.queue(0).has_used());
    knobs.release();
    run(&manager);
    assert!(bus.queue(0).collect().is_some());
    bus.submit(0, &[b"held"], &[4]);
    run(&manager);
    knobs.release();
    bus.core().pause();
    assert!(bus.queue(0).collect().is_some(), "by the pause");
    Knobs::set(&knobs.hold, false);
    bus.core().resume();
    bus.submit(0, &[b"echo"], &[4]);
    run(&manager);
    assert!(bus.queue(0).collect().is_some());
    bus.reset();
    assert_eq!(Knobs::count(&knobs.returned), 4);
}
