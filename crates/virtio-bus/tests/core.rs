//! The core on its own terms: starts that fail, faults, legacy drivers, saved state.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use testkit::{Knobs, Malformed, Options, Space, TestBus, Toy};
use virtio_bus::{
    CoreState, InlineRunner, Job, Kicks, NotStarted, Runner, Running, Status, ThreadRunner,
    VirtioProps,
};
use virtio_device::{ByteOrder, Error, Features, RingArea, RingPosition};

const MODERN: Features = Features::VERSION_1;

fn echo(bus: &mut TestBus, queue: u16) {
    let response = bus.request(queue, &[b"echo"], &[8]);
    assert_eq!((response.len, &response.bytes[..4]), (4, &b"echo"[..]));
}

fn legacy() -> Options {
    Options {
        legacy: Some(ByteOrder::Little),
        ..Options::default()
    }
}

#[test]
fn bug_45_legacy_drivers_know_no_features_ok() {
    let (ack, driver) = (Status::ACKNOWLEDGE, Status::ACKNOWLEDGE | Status::DRIVER);
    let ready = driver | Status::DRIVER_OK;
    let rows: &[(Features, &[Status], Status)] = &[
        (Features::NONE, &[driver, ready], ready),
        (Features::NONE, &[ready], ready),
        (Features::NONE, &[ack, ack | Status::DRIVER_OK], ack),
        // A legacy driver gets what there is of what it asked for.
        (Features::EVENT_IDX | Features::bit(31), &[ready], ready),
        // A modern one has to settle its features.
        (MODERN, &[ready], driver),
    ];
    for (features, written, read) in rows {
        let mut bus = TestBus::with(Toy::new(1, &[&[0]]).0, legacy());
        for page in 0..2 {
            bus.core().write_driver_features(page, features.page(page));
        }
        written
            .iter()
            .for_each(|&status| bus.core().write_status(status));
        assert_eq!(bus.core().status(), *read, "{features:?} {written:?}");
        if read.contains(Status::DRIVER_OK) {
            assert!(bus.core().offered().contains(bus.core().driver_features()));
        }
    }
}

#[test]
fn a_status_is_set_whole_or_not_at_all() {
    let driver = Status::ACKNOWLEDGE | Status::DRIVER;
    let settled = driver | Status::FEATURES_OK;
    let ready = settled | Status::DRIVER_OK;
    // Features, what was set before, what is set now, whether the device agrees.
    let rows: &[(Features, Status, Status, bool)] = &[
        (MODERN, Status::RESET, Status::ACKNOWLEDGE, true),
        (MODERN, Status::RESET, ready, true),
        (MODERN, driver, settled, true),
        (MODERN, settled, ready, true),
        (MODERN, ready, ready | Status::FAILED, true),
        (MODERN, ready, Status::RESET, true),
        (MODERN, Status::RESET, Status::FEATURES_OK, false),
        (MODERN, driver, driver | Status::DRIVER_OK, false),
        (
            MODERN | Features::bit(127),
            driver,
            settled | Status::FAILED,
            false,
        ),
        (Features::NONE, Status::RESET, settled, false),
        (MODERN, settled, driver, false),
        (MODERN, driver, driver | Status(16), false),
        (MODERN, driver, driver | Status::DEVICE_NEEDS_RESET, false),
    ];
    for &(features, before, value, agreed) in rows {
        let mut bus = TestBus::new(Toy::new(1, &[&[0]]).0);
        for page in 0..4 {
            bus.core().write_driver_features(page, features.page(page));
        }
        let set = before == Status::RESET || bus.core().set_status(before);
        assert!(set, "{before:?}");
        assert_eq!(bus.core().set_status(value), agreed, "{before:?} {value:?}");
        let now = if agreed { value } else { before };
        assert_eq!(bus.core().status(), now, "{before:?} {value:?}");
    }
}

#[test]
fn a_device_that_needs_a_reset_still_takes_status_bits() {
    let (toy, knobs) = Toy::new(1, &[&[0]]);
    Knobs::set(&knobs.refuse_activation, true);
    let mut bus = TestBus::new(toy);
    assert!(bus.negotiate(MODERN));
    let status = bus.core().status() | Status::DRIVER_OK;
    assert!(bus.core().set_status(status));
    let shown = status | Status::DEVICE_NEEDS_RESET;
    assert_eq!(bus.core().status(), shown);
    for value in [
        status,
        shown,
        status | Status::FAILED,
        shown | Status::FAILED,
    ] {
        assert!(bus.core().set_status(value), "{value:?}");
    }
    assert_eq!(bus.core().status(), shown | Status::FAILED);
    assert!(bus.core().set_status(Status::RESET));
    assert_eq!(bus.core().status(), Status::RESET);
}

#[test]
fn legacy_queues_are_laid_out_behind_one_address() {
    let mut bus = TestBus::with(Toy::new(1, &[&[0]]).0, legacy());
    bus.core().set_legacy_queue(0, 0x10_0000, 4096);
    let regs = bus.core().queue(0).unwrap().clone();
    assert!(regs.enabled);
    let addresses = (regs.descriptor, regs.driver, regs.device);
    assert_eq!(addresses, (0x10_0000, 0x10_0100, 0x10_1000));
    bus.core().set_legacy_queue(0, 0, 4096);
    assert!(!bus.core().queue(0).unwrap().enabled);
    for (address, align) in [(u64::MAX, 4096), (u64::MAX - 4095, 0), (1 << 63, u32::MAX)] {
        bus.core().set_legacy_queue(0, address, align);
        bus.core().write_status(Status(7));
        assert!(!bus.run());
        bus.reset();
    }
}

#[test]
fn bug_37_a_start_that_fails_tells_the_driver_and_can_be_repeated() {
    let (toy, knobs) = Toy::new(2, &[&[0], &[1]]);
    let mut bus = TestBus::new(toy);
    Knobs::set(&knobs.refuse_activation, true);
    assert!(bus.negotiate(MODERN));
    bus.set_up_queue(0, 16);
    bus.driver_ok();
    assert!(bus.needs_reset());
    assert!(bus.core().status().contains(Status::DRIVER_OK));
    assert_eq!(bus.interrupts().config(), 1);
    assert!(!bus.kicks_assigned());
    bus.notify(0);
    assert!(!bus.run());
    bus.core().pause();
    bus.core().resume();
    assert!(bus.needs_reset());
    bus.reset();
    Knobs::set(&knobs.refuse_activation, false);
    bus.boot(MODERN);
    echo(&mut bus, 1);
}

/// Has threads for so many jobs, and loses those that it cannot start if told to.
struct Tired {
    left: AtomicU32,
    loses: bool,
}

impl Runner<Space> for Tired {
    fn start(&self, job: Job<Space>) -> Result<Box<dyn Running<Space>>, NotStarted<Space>> {
        let error = io::Error::other("out of threads");
        let one_less = |left: u32| left.checked_sub(1);
        let (set, load) = (Ordering::SeqCst, Ordering::SeqCst);
        match self.left.fetch_update(set, load, one_less) {
            Ok(_) => ThreadRunner::new("toy").start(job),
            Err(_) if self.loses => Err(error.into()),
            Err(_) => Err(NotStarted::new(job, error)),
        }
    }
}

/// A bus whose runner has threads for `jobs` jobs.
fn tired(jobs: u32, loses: bool) -> (TestBus, Arc<Knobs>, Arc<Tired>) {
    let left = AtomicU32::new(jobs);
    let runner = Arc::new(Tired { left, loses });
    let (toy, knobs) = Toy::new(3, &[&[0], &[1], &[2]]);
    (TestBus::on(toy, runner.clone()), knobs, runner)
}

#[test]
fn bug_37_a_runner_that_fails_is_a_start_that_fails() {
    for (loses, returned) in [(false, 3), (true, 1)] {
        let (mut bus, knobs, runner) = tired(1, loses);
        assert!(bus.negotiate(MODERN));
        bus.driver_ok();
        assert!(bus.needs_reset());
        assert_eq!(bus.interrupts().config(), 1);
        assert!(!bus.kicks_assigned());
        bus.reset();
        assert_eq!(Knobs::count(&knobs.returned), returned, "workers");
        runner.left.store(3, Ordering::SeqCst);
        bus.boot(MODERN);
        (0..3).for_each(|queue| echo(&mut bus, queue));
    }
}

#[test]
fn a_worker_that_is_not_started_again_after_a_queue_reset_is_not_lost() {
    let (mut bus, knobs, runner) = tired(3, false);
    bus.boot(MODERN | Features::RING_RESET);
    bus.reset_queue(1);
    assert!(bus.needs_reset());
    bus.reset();
    assert_eq!(Knobs::count(&knobs.returned), 3);
    runner.left.store(3, Ordering::SeqCst);
    bus.boot(MODERN);
    (0..3).for_each(|queue| echo(&mut bus, queue));
}

#[test]
fn a_device_has_the_last_word_on_features() {
    let (toy, knobs) = Toy::new(1, &[&[0]]);
    let mut bus = TestBus::new(toy);
    Knobs::set(&knobs.refuse_features, true);
    assert!(!bus.negotiate(MODERN));
    Knobs::set(&knobs.refuse_features, false);
    bus.core().write_status(Status(11));
    assert!(bus.core().status().contains(Status::FEATURES_OK));
}

#[test]
#[should_panic(expected = "Misuse")]
fn an_offer_that_contradicts_itself_is_misuse() {
    let options = Options {
        features: Features::RING_PACKED,
        ..Options::default()
    };
    TestBus::with(Toy::new(1, &[&[0]]).0, options);
}

/// The status has no bit for it.
#[test]
fn a_device_cannot_be_suspended_by_its_driver() {
    let options = Options {
        features: Options::default().features | Features::SUSPEND,
        ..Options::default()
    };
    let mut bus = TestBus::with(Toy::new(1, &[&[0]]).0, options);
    assert!(!bus.core().offered().contains(Features::SUSPEND));
}

#[test]
fn address_registers_are_written_in_halves() {
    let mut bus = TestBus::new(Toy::new(1, &[&[0]]).0);
    let core = bus.core();
    for which in [RingArea::Descriptor, RingArea::Driver, RingArea::Device] {
        core.set_queue_address(0, which, 0x1234_5678, 0xffff_ffff);
        core.set_queue_address(0, which, 0x9abc_def0 << 32, 0xffff_ffff << 32);
        let regs = core.queue(0).unwrap();
        assert_eq!(regs.address(which), 0x9abc_def0_1234_5678);
    }
}

#[test]
fn bug_05_a_broken_queue_leaves_the_others_alone() {
    for groups in [&[&[0, 1][..]][..], &[&[0], &[1]]] {
        let mut bus = TestBus::new(Toy::new(2, groups).0);
        bus.boot(MODERN);
        Malformed::SelfLoop.forge(bus.queue(0));
        bus.notify(0);
        bus.run();
        assert!(bus.needs_reset());
        for _ in 0..40 {
            echo(&mut bus, 1);
            bus.notify(0);
        }
        assert!(!bus.queue(0).has_used());
        assert_eq!(bus.interrupts().config(), 1);
        // The second one breaks as well: the driver knows already.
        Malformed::HeadOutOfRange.forge(bus.queue(1));
        bus.notify(1);
        bus.run();
        assert_eq!(bus.interrupts().config(), 1);
    }
}

#[test]
fn a_worker_that_fails_stops_alone() {
    let mut bus = TestBus::new(Toy::new(3, &[&[0, 1], &[2]]).0);
    bus.boot(MODERN);
    bus.submit(0, &[b"F"], &[1]);
    bus.run();
    assert!(bus.needs_reset());
    bus.submit(1, &[b"x"], &[1]);
    bus.run();
    assert!(!bus.queue(1).has_used(), "the same worker's");
    echo(&mut bus, 2);
    assert_eq!(bus.interrupts().config(), 1);
    bus.reset();
    bus.boot(MODERN);
    (0..3).for_each(|queue| echo(&mut bus, queue));
}

/// What it waited for may be ready for ever: nobody takes it any more.
#[test]
fn a_worker_that_failed_is_not_watched_for() {
    let (toy, knobs) = Toy::new(1, &[&[0]]);
    let mut bus = TestBus::new(toy);
    bus.boot(MODERN);
    bus.submit(0, &[b"F"], &[1]);
    bus.run();
    knobs.release();
    assert!(!bus.run(), "there is nothing to do");
    assert!(bus.needs_reset());
}

#[test]
fn config_changes_are_told_to_drivers_that_are_ready() {
    let (toy, knobs) = Toy::new(1, &[&[0]]);
    let mut bus = TestBus::new(toy);
    bus.boot(MODERN);
    let host = knobs.host.lock().unwrap().clone().unwrap();
    host.config_changed();
    host.config_changed();
    assert_eq!(bus.interrupts().config(), 2);
    host.needs_reset();
    host.needs_reset();
    assert_eq!(bus.interrupts().config(), 3, "once");
    bus.reset();
    host.config_changed();
    assert_eq!(bus.interrupts().config(), 3, "nobody listens");
}

#[test]
fn queues_that_the_driver_left_off_are_not_served() {
    let mut bus = TestBus::new(Toy::new(3, &[&[0, 1, 2]]).0);
    assert!(bus.negotiate(MODERN));
    bus.set_up_queue(1, 8);
    bus.driver_ok();
    echo(&mut bus, 1);
    bus.notify(0);
    bus.notify(2);
    bus.run();
    assert!(!bus.needs_reset());
}

#[test]
fn a_device_is_saved_at_rest_and_restored_when_new() {
    let mut bus = TestBus::new(Toy::new(1, &[&[0]]).0);
    bus.boot(MODERN);
    assert!(matches!(bus.core().save(), Err(Error::Misuse(_))));
    bus.core().pause();
    let state = bus.core().save().unwrap();
    assert!(matches!(bus.core().restore(&state), Err(Error::Misuse(_))));
    bus.core().resume();
    echo(&mut bus, 0);
    // A pause of what does not run is none.
    bus.reset();
    bus.core().pause();
    bus.core().resume();
    assert_eq!(bus.core().status(), Status::RESET);
}

#[test]
fn bug_41_positions_and_needs_reset_are_saved() {
    let mut bus = TestBus::new(Toy::new(2, &[&[0, 1]]).0);
    bus.boot(MODERN);
    (0..5).for_each(|_| echo(&mut bus, 1));
    bus.core().write_config(0, &[9]);
    Malformed::Cycle.forge(bus.queue(0));
    bus.notify(0);
    bus.run();
    bus.core().pause();
    let state = bus.core().save().unwrap();
    let position = RingPosition { avail: 5, used: 5 };
    assert_eq!(state.queues[1].position, Some(position));
    assert!(state.status.contains(Status::DEVICE_NEEDS_RESET));
    let mut bus = bus.successor(Toy::new(2, &[&[0, 1]]).0, Options::default());
    bus.core().restore(&state).unwrap();
    assert!(bus.needs_reset());
    assert_eq!(bus.read_config(0, 4), [9, 2, 3, 4]);
    bus.core().resume();
    bus.run();
    echo(&mut bus, 1);
    assert!(
        bus.interrupts().config() >= 1,
        "the driver hears of it again"
    );
    bus.reset();
    assert_eq!(bus.read_config(0, 4), [1, 2, 3, 4]);
}

#[test]
fn bug_79_a_state_with_another_number_of_queues_is_refused() {
    let mut bus = TestBus::new(Toy::new(2, &[&[0, 1]]).0);
    bus.boot(MODERN);
    bus.core().pause();
    let state = bus.core().save().unwrap();
    for queues in [1, 3] {
        let mut other = TestBus::new(Toy::new(queues, &[&[0]]).0);
        let restored = other.core().restore(&state);
        assert!(matches!(restored, Err(Error::State(_))), "{queues}");
    }
}

#[test]
fn bug_79_a_status_that_no_driver_brings_about_is_refused() {
    let saved = |options: Options| {
        let mut bus = TestBus::with(Toy::new(1, &[&[0]]).0, options);
        bus.boot(MODERN);
        bus.core().pause();
        bus.core().save().unwrap()
    };
    let good = saved(Options::default());
    let restored = |state: &CoreState, options: Options| {
        let mut bus = TestBus::with(Toy::new(1, &[&[0]]).0, options);
        let restored = bus.core().restore(state);
        restored.map(|()| bus.core().status())
    };
    for status in [1, 3, 11, 15, 0x4f, 0x8f, 0x81].map(Status) {
        let state = CoreState {
            status,
            ..good.clone()
        };
        assert_eq!(restored(&state, Options::default()).unwrap(), status);
    }
    for status in [0x10, 0x2f, 4, 7, 8, 9, 12, 14].map(Status) {
        let state = CoreState {
            status,
            ..good.clone()
        };
        for options in [Options::default(), legacy()] {
            let refused = matches!(restored(&state, options), Err(Error::State(_)));
            assert!(refused, "{status:?}");
        }
    }
    let state = CoreState {
        status: Status(7),
        driver_features: Features::NONE,
        ..good
    };
    assert_eq!(restored(&state, legacy()).unwrap(), Status(7));
}

#[test]
fn bug_42_a_notification_before_driver_ok_or_after_reset_is_forgotten() {
    let mut bus = TestBus::new(Toy::new(1, &[&[0]]).0);
    let fd = bus.core().kicks().fds()[0].clone();
    bus.notify(0);
    assert!(fd.read().is_err(), "at reset");
    assert!(bus.negotiate(MODERN));
    bus.notify(0);
    assert!(fd.read().is_err(), "before DRIVER_OK");
    bus.set_up_queue(0, 8);
    bus.driver_ok();
    bus.notify(0);
    bus.reset();
    bus.notify(0);
    assert!(fd.read().is_err(), "after a reset");
}

/// Serves what there is at the start, before anybody else comes to run.
struct Hasty(InlineRunner<Space>, Mutex<Option<Arc<Kicks>>>);

impl Runner<Space> for Hasty {
    fn start(&self, job: Job<Space>) -> Result<Box<dyn Running<Space>>, NotStarted<Space>> {
        let running = self.0.start(job)?;
        self.0.run();
        if let Some(kicks) = &*self.1.lock().unwrap() {
            kicks.notify(0);
        }
        Ok(running)
    }
}

/// A driver that runs while its device is resumed, on another processor.
#[test]
fn bug_44_a_notification_during_a_start_is_not_lost() {
    let runner = Arc::new(Hasty(InlineRunner::new(), Mutex::new(None)));
    let mut bus = TestBus::on(Toy::new(1, &[&[0]]).0, runner.clone());
    bus.boot(MODERN);
    bus.core().pause();
    *runner.1.lock().unwrap() = Some(bus.core().kicks().clone());
    bus.core().resume();
    let fd = &bus.core().kicks().fds()[0];
    assert_eq!(fd.read().unwrap(), 1, "still to be served");
}

#[test]
fn a_core_that_is_dropped_has_its_workers_back() {
    let (toy, knobs) = Toy::new(2, &[&[0], &[1]]);
    let mut bus = TestBus::new(toy);
    bus.boot(MODERN);
    drop(bus);
    assert_eq!(Knobs::count(&knobs.returned), 2);
}

#[test]
fn a_queue_that_is_reset_during_a_pause_stays_off() {
    let mut bus = TestBus::new(Toy::new(2, &[&[0, 1]]).0);
    bus.boot(MODERN | Features::RING_RESET);
    bus.core().pause();
    bus.core().reset_queue(0);
    bus.core().resume();
    assert!(!bus.core().queue(0).unwrap().enabled);
    let chain = bus.submit(0, &[b"echo"], &[8]);
    bus.notify(0);
    bus.run();
    assert!(!bus.queue(0).has_used(), "{chain:?} came back");
    echo(&mut bus, 1);
}

#[test]
fn drivers_without_the_platforms_addresses_are_not_understood() {
    let translating = || Options {
        features: VirtioProps::default().iommu_platform(true).features(),
        ..legacy()
    };
    let mut bus = TestBus::with(Toy::new(1, &[&[0]]).0, translating());
    assert!(!bus.negotiate(MODERN));
    bus.reset();
    bus.core()
        .write_status(Status::ACKNOWLEDGE | Status::DRIVER | Status::DRIVER_OK);
    assert!(!bus.core().status().contains(Status::DRIVER_OK), "legacy");
    bus.reset();
    bus.boot(MODERN | Features::ACCESS_PLATFORM);
    echo(&mut bus, 0);
}
