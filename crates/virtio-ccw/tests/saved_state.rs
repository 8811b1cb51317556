//! Saved states: taken, restored, refused.

mod machine;

use machine::*;
use virtio_bus::Status;
use virtio_ccw::{CcwProps, CcwState, QueueIndicators, TwoStage};
use virtio_device::Features;
use virtio_rng::{HostRandom, Rng, RngProps};

fn toy() -> Toy {
    Toy::new(2, &[&[0, 1]]).0
}

/// A state of a device that runs with two-stage indicators, and its machine.
fn running() -> (Machine, CcwState) {
    let mut machine = Machine::new(toy());
    machine.prepare(2, Features::VERSION_1);
    machine.command(SET_IND_ADAPTER, thinint(0x200, 0x300, 6, 3));
    machine.command(SET_CONF_IND, CONFIG_INDICATORS.to_be_bytes());
    machine.driver_ok();
    machine.request(0, b"before", 8);
    machine.transport.pause();
    let state = machine.transport.save().expect("paused");
    (machine, state)
}

#[test]
fn a_running_device_goes_on_elsewhere() {
    let (machine, state) = running();
    let mut other = machine.successor(toy());
    other.transport.restore(&state).expect("its own state");
    assert_eq!(other.transport.save().expect("not running yet"), state);
    other.channel.ram().write(0x200, &[0]);
    other.channel.ram().write(0x300, &[0, 0]);
    other.transport.resume();
    assert_eq!(other.status(), SETTLED | Status::DRIVER_OK);
    assert_eq!(
        other.channel.ram().read(0x300, 1),
        [0b11],
        "every queue once"
    );
    assert_eq!(other.request(0, b"after", 8), 5);
    assert_eq!(other.request(1, b"after", 8), 5);
}

#[test]
fn every_stage_can_be_saved_and_restored() {
    let stages: &[fn(&mut Machine)] = &[
        |_| (),
        |machine| machine.select(1),
        |machine| machine.prepare(2, Features::VERSION_1),
        |machine| machine.boot(2, Features::VERSION_1),
        |machine| {
            machine.boot(2, Features::VERSION_1);
            machine.command(VDEV_RESET, []);
        },
    ];
    for stage in stages {
        let mut machine = Machine::new(toy());
        stage(&mut machine);
        machine.transport.pause();
        let state = machine.transport.save().expect("at rest");
        let other = machine.successor(toy());
        other.transport.restore(&state).expect("its own state");
        assert_eq!(other.transport.save().expect("at rest"), state);
    }
}

#[test]
fn states_that_cannot_be_are_refused_and_change_nothing() {
    let (_, good) = running();
    let change = |change: fn(&mut CcwState)| {
        let mut state = good.clone();
        change(&mut state);
        state
    };
    fn two_stage(state: &mut CcwState) -> &mut TwoStage {
        match &mut state.queue_indicators {
            QueueIndicators::TwoStage(two_stage) => two_stage,
            other => panic!("{other:?}"),
        }
    }
    let wrong = [
        change(|state| state.version += 1),
        change(|state| state.revision = Some(3)),
        change(|state| state.revision = Some(0)),
        change(|state| state.revision = Some(u16::MAX)),
        change(|state| state.config_indicators = Some(u64::MAX)),
        change(|state| state.config_indicators = Some(testkit::END - 7)),
        change(|state| two_stage(state).isc = 8),
        change(|state| two_stage(state).bit = u64::MAX),
        change(|state| two_stage(state).address = testkit::END),
        change(|state| two_stage(state).summary = testkit::END),
        change(|state| state.queue_indicators = QueueIndicators::Classic { address: u64::MAX }),
        change(|state| state.core.driver_features = Features::bit(99)),
        change(|state| state.core.queues[0].size = 3),
    ];
    let machine = Machine::new(toy());
    let fresh = machine.transport.save().expect("at rest");
    for state in wrong {
        assert!(machine.transport.restore(&state).is_err(), "{state:?}");
        assert_eq!(machine.transport.save().expect("at rest"), fresh);
    }
    machine.transport.restore(&good).expect("its own state");
    assert!(
        machine.transport.restore(&good).is_err(),
        "not fresh any more"
    );
}

/// Legacy features need a legacy revision.
#[test]
fn the_revision_decides_what_may_have_been_negotiated() {
    let rng = || Rng::new(&RngProps::default(), HostRandom).expect("an entropy device");
    let machine = Machine::new(rng());
    machine.select(0);
    machine.write_features(Features::EVENT_IDX);
    machine.write_status(Status::ACKNOWLEDGE | Status::DRIVER);
    machine.write_status(Status::ACKNOWLEDGE | Status::DRIVER | Status::DRIVER_OK);
    machine.transport.pause();
    let state = machine.transport.save().expect("at rest");
    let with = |revision, max| {
        let options = Options {
            props: CcwProps::default().max_revision(max),
            ..Options::default()
        };
        let state = CcwState {
            revision,
            ..state.clone()
        };
        Machine::with(rng(), options)
            .transport
            .restore(&state)
            .is_ok()
    };
    assert!(with(Some(0), 2) && with(Some(0), 0));
    assert!(with(None, 2), "disabled meanwhile");
    assert!(!with(Some(2), 2), "without VERSION_1");
}

#[test]
#[cfg(feature = "serde")]
fn a_state_survives_serialisation() {
    let (_, state) = running();
    let text = serde_json::to_string(&state).expect("a state");
    let back: CcwState = serde_json::from_str(&text).expect("its own text");
    assert_eq!(back, state);
}
