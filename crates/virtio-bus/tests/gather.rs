//! Interrupts that wait for one another while a queue is polled.

use std::io;
use std::sync::{Arc, Mutex};
use std::thread::spawn;
use std::time::Duration;

use testkit::{Knobs, Space, TestBus, Toy, wait_for};
use virtio_bus::{Job, NotStarted, Ready, Runner, Running, SharedThread, ThreadRunner};
use virtio_device::{Features, Progress, Reactor, Source};

/// Has the job that was started last, for a test to call.
#[derive(Clone, Default)]
struct ByHand(Arc<Mutex<Option<Job<Space>>>>);

impl ByHand {
    fn call<T>(&self, f: impl FnOnce(&mut Job<Space>) -> T) -> T {
        f(self.0.lock().unwrap().as_mut().expect("a job"))
    }
}

impl Runner<Space> for ByHand {
    fn start(&self, job: Job<Space>) -> Result<Box<dyn Running<Space>>, NotStarted<Space>> {
        *self.0.lock().unwrap() = Some(job);
        Ok(Box::new(self.clone()))
    }
}

impl Running<Space> for ByHand {
    fn stop(&self) {}

    fn is_stopped(&self) -> bool {
        true
    }

    fn when_stopped(&self, then: Box<dyn FnOnce() + Send>) {
        then();
    }

    fn join(self: Box<Self>) -> Option<Job<Space>> {
        let mut job = self.0.lock().unwrap().take()?;
        assert_eq!(job.quiesce(&mut NoSources), Progress::Idle);
        Some(job)
    }
}

/// Nothing has to be watched by who calls for everything.
struct NoSources;

impl Reactor for NoSources {
    fn watch(&mut self, _: Source<'_>) -> io::Result<()> {
        Ok(())
    }

    fn unwatch(&mut self, _: u16) {}
}

fn booted(runner: Arc<dyn Runner<Space>>, gathers: bool) -> (TestBus, Arc<Knobs>) {
    let (toy, knobs) = Toy::new(2, &[&[0, 1]]);
    Knobs::set(&knobs.gathers, gathers);
    let mut bus = TestBus::on(toy, runner);
    bus.boot(Features::VERSION_1);
    (bus, knobs)
}

/// One request to queue `queue`, served in one call. Returns how many interrupts that gave.
fn serve(bus: &mut TestBus, hand: &ByHand, queue: u16) -> u32 {
    let before = bus.interrupts().queue(queue);
    bus.submit(queue, &[b"seen"], &[4]);
    hand.call(|job| job.dispatch(Ready::Kick(queue), &mut NoSources));
    assert!(bus.queue(queue).collect().is_some(), "seen at once");
    bus.interrupts().queue(queue) - before
}

/// As many requests as it takes before the first interrupt is kept back, one after another.
fn until_one_waits(bus: &mut TestBus, hand: &ByHand) -> usize {
    let told = |_: &usize| serve(bus, hand, 0) == 1;
    (0..100).take_while(told).count()
}

#[test]
fn eight_share_one_while_nobody_arms() {
    let hand = ByHand::default();
    let (mut bus, _) = booted(Arc::new(hand.clone()), true);
    assert_eq!(until_one_waits(&mut bus, &hand), 16);
    for batch in 0..4 {
        let missing = if batch == 0 { 7 } else { 8 };
        let told: Vec<_> = (0..missing).map(|_| serve(&mut bus, &hand, 0)).collect();
        assert_eq!(told.iter().sum::<u32>(), 1, "{told:?}");
        assert_eq!(told.last(), Some(&1), "{told:?}");
    }
}

#[test]
fn none_waits_while_the_runner_sleeps() {
    let hand = ByHand::default();
    let (mut bus, _) = booted(Arc::new(hand.clone()), true);
    until_one_waits(&mut bus, &hand);
    let before = bus.interrupts().queue(0);
    assert!(!hand.call(Job::arm), "nothing new");
    assert_eq!(bus.interrupts().queue(0), before + 1);
    assert_eq!(serve(&mut bus, &hand, 0), 1, "it was in vain");
}

#[test]
fn none_waits_when_the_job_stops() {
    let hand = ByHand::default();
    let (mut bus, _) = booted(Arc::new(hand.clone()), true);
    until_one_waits(&mut bus, &hand);
    let before = bus.interrupts().queue(0);
    bus.core().pause();
    assert_eq!(bus.interrupts().queue(0), before + 1);
    bus.core().resume();
    assert_eq!(serve(&mut bus, &hand, 0), 1, "as at first");
}

/// Two queues of one job, one of which is always busy.
#[test]
fn a_busy_queue_is_not_at_the_cost_of_another() {
    let hand = ByHand::default();
    let (mut bus, _) = booted(Arc::new(hand.clone()), true);
    until_one_waits(&mut bus, &hand);
    let before = bus.interrupts().queue(0);
    let calls = (0..100).take_while(|_| {
        serve(&mut bus, &hand, 1);
        bus.interrupts().queue(0) == before
    });
    assert!(calls.count() < 16);
    assert_eq!(bus.interrupts().queue(0), before + 1);
}

#[test]
fn a_worker_that_does_not_gather_has_none_wait() {
    let hand = ByHand::default();
    let (mut bus, _) = booted(Arc::new(hand.clone()), false);
    assert_eq!(until_one_waits(&mut bus, &hand), 100);
}

/// A driver that sleeps until it is interrupted, for each of more requests than there are rests.
#[test]
fn threads_lose_no_interrupt() {
    let (shared, work) = SharedThread::new(POLL).unwrap();
    spawn(work);
    let own: Arc<dyn Runner<Space>> = Arc::new(ThreadRunner::new("toy").poll(POLL));
    for runner in [own, Arc::new(shared)] {
        let (mut bus, _) = booted(runner, true);
        for round in 0..200 {
            let (queue, before) = (round % 2, bus.interrupts().queue(round % 2));
            bus.submit(queue, &[b"seen"], &[4]);
            wait_for("an interrupt", || {
                (bus.interrupts().queue(queue) > before).then_some(())
            });
            assert!(bus.queue(queue).collect().is_some(), "round {round}");
        }
    }
}

const POLL: Duration = Duration::from_micros(200);
