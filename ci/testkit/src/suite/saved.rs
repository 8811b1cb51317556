//! Saved state: a round trip, and what a restore makes of nonsense.

use virtio_bus::{CoreState, QueueState, Status};
use virtio_device::{Features, RingPosition, VirtioDevice};

use super::lifecycle::state;
use super::{During, Subject, reset_mends, settle};
use crate::{END, Options, TestBus};

/// A new device takes over where the old one was saved, and so does one that never ran.
pub fn save_and_restore<D: VirtioDevice>(subject: &Subject<D>) {
    subject.for_each_mix(|bus, features| {
        for _ in 0..2 {
            subject.traffic(bus);
            move_over(subject, bus);
            subject.traffic(bus);
        }
        reset_mends(subject, bus, features);
        bus.reset();
        assert!(bus.negotiate(features));
        move_over(subject, bus);
        assert!(bus.core().status().contains(Status::FEATURES_OK));
        let queues = bus.core().queue_count();
        for queue in 0..queues {
            let max = bus.core().queue(queue).expect("a queue").max_size.get();
            bus.set_up_queue(queue, max);
        }
        bus.driver_ok();
        subject.traffic(bus);
    });
}

/// Past bug 41: a reset after a restore leaves as little as one after a boot.
pub fn reset_after_restore<D: VirtioDevice>(subject: &Subject<D>) {
    let fresh = state(&mut subject.bus());
    subject.for_each_mix(|bus, features| {
        subject.traffic(bus);
        move_over(subject, bus);
        bus.reset();
        assert_eq!(state(bus), fresh);
        bus.boot(features);
        subject.traffic(bus);
    });
}

/// Past bugs 79 and 80: a state that nobody saved is refused, and leaves the device as new, ready for the
/// next one; or it is taken, and the device does no harm with it.
pub fn mutated_states<D: VirtioDevice>(subject: &Subject<D>) {
    let fresh = state(&mut subject.bus());
    for features in subject.mixes().into_iter().filter(is_plain) {
        let mut bus = subject.bus();
        bus.boot(features);
        subject.traffic(&mut bus);
        bus.core().pause();
        let good = bus.core().save().expect("a paused device can be saved");
        let mut bus = subject.bus();
        for (number, mutated) in mutations(&good).into_iter().enumerate() {
            let _during = During(format!("mutation {number}: {mutated:x?}"));
            if bus.core().restore(&mutated).is_err() {
                assert_eq!(state(&mut bus), fresh, "a refused state leaves nothing");
                continue;
            }
            run_with_nonsense(&mut bus);
            bus.reset();
            assert_eq!(state(&mut bus), fresh);
            bus.boot(features);
            subject.traffic(&mut bus);
            bus = subject.bus();
        }
        let _during = During("after all that was refused".to_owned());
        bus.boot(features);
        subject.traffic(&mut bus);
    }
}

/// Saves the device and goes on with a new one.
fn move_over<D: VirtioDevice>(subject: &Subject<D>, bus: &mut TestBus) {
    bus.core().pause();
    let state = bus.core().save().expect("a paused device can be saved");
    let old = std::mem::replace(bus, subject.bus());
    *bus = old.successor(subject.device(), Options::default());
    bus.core().restore(&state).expect("its own state");
    let before = bus.core().save().expect("not resumed yet");
    assert_eq!(before, state, "what was restored is what was saved");
    bus.core().resume();
}

fn is_plain(features: &Features) -> bool {
    let others = Features::INDIRECT_DESC | Features::EVENT_IDX | Features::IN_ORDER;
    !features.intersects(others)
}

fn run_with_nonsense(bus: &mut TestBus) {
    bus.core().resume();
    settle(bus);
    for queue in 0..bus.core().queue_count() {
        bus.notify(queue);
    }
    settle(bus);
    bus.core().pause();
    assert!(bus.core().save().is_ok());
    bus.core().resume();
    settle(bus);
}

fn mutations(good: &CoreState) -> Vec<CoreState> {
    let mut all = Vec::new();
    let mut with = |change: &dyn Fn(&mut CoreState)| {
        let mut state = good.clone();
        change(&mut state);
        all.push(state);
    };
    for version in [0, good.version + 1, u32::MAX] {
        with(&|state| state.version = version);
    }
    for status in 0..=u8::MAX {
        with(&|state| state.status = Status(status));
    }
    for bit in 0..128 {
        let bits = good.driver_features.bits() ^ 1 << bit;
        with(&|state| state.driver_features = Features::from_bits(bits));
    }
    with(&|state| state.driver_features = Features::NONE);
    with(&|state| state.queues.truncate(state.queues.len().saturating_sub(1)));
    with(&|state| state.queues.clear());
    with(&|state| state.queues.extend(good.queues.first().cloned()));
    mutate_queues(&mut with);
    mutate_device(good, &mut with);
    all
}

fn mutate_queues(with: &mut With<'_>) {
    let mut each = |change: &dyn Fn(&mut QueueState)| {
        with(&|state| state.queues.iter_mut().for_each(change));
        with(&|state| state.queues.iter_mut().take(1).for_each(change));
    };
    for size in [0, 1, 3, 0x8000, 0x8001, u16::MAX] {
        each(&|queue| queue.size = size);
    }
    for address in [0, 1, 2, END - 16, END, u64::MAX - 15, u64::MAX] {
        each(&|queue| queue.descriptor = address);
        each(&|queue| queue.driver = address);
        each(&|queue| queue.device = address);
    }
    each(&|queue| queue.enabled = !queue.enabled);
    each(&|queue| queue.position = None);
    for (avail, used) in [
        (0, 1),
        (1, 0),
        (0x7fff, 0x7fff),
        (0x8000, 0),
        (0, 0x8000),
        (u16::MAX, u16::MAX),
        (12345, 54321),
    ] {
        each(&|queue| queue.position = Some(RingPosition { avail, used }));
    }
}

fn mutate_device(good: &CoreState, with: &mut With<'_>) {
    with(&|state| state.device.kind.clear());
    with(&|state| state.device.kind.push('x'));
    for version in [0, good.device.version + 1, u32::MAX] {
        with(&|state| state.device.version = version);
    }
    let len = good.device.bytes.len();
    let step = len.div_ceil(MUTATED_BYTES).max(1);
    for at in (0..len).step_by(step) {
        with(&|state| state.device.bytes.truncate(at));
        for mask in [1, 0x80, 0xff] {
            with(&|state| state.device.bytes[at] ^= mask);
        }
    }
    with(&|state| state.device.bytes.push(0));
    with(&|state| state.device.bytes.extend([0xff; 4096]));
    with(&|state| state.device.bytes.fill(0xff));
}

type With<'a> = dyn FnMut(&dyn Fn(&mut CoreState)) + 'a;

/// Of a device's state at most so many are changed, spread over it.
const MUTATED_BYTES: usize = 128;
