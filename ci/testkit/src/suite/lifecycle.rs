//! Start, reset, queue reset, pause.

use virtio_bus::{CoreState, QueueRegs, Status};
use virtio_device::{Features, VirtioDevice};

use super::{During, Subject, collect_all, offer, reset_mends, sample_queues, segments, settle};
use crate::{Malformed, TestBus};

/// The device's own good requests, whatever the rings are like.
pub fn traffic<D: VirtioDevice>(subject: &Subject<D>) {
    subject.for_each_mix(|bus, _| {
        for _ in 0..3 {
            subject.traffic(bus);
        }
        settle(bus);
    });
}

/// Past bug 42: before DRIVER_OK a device takes nothing from its queues; what was put there by
/// then is not forgotten.
pub fn notify_before_driver_ok<D: VirtioDevice>(subject: &Subject<D>) {
    for features in subject.mixes() {
        let _during = During(format!("{features:?}"));
        let mut bus = subject.bus();
        assert!(bus.negotiate(features));
        for queue in 0..bus.core().queue_count() {
            let max = bus.core().queue(queue).expect("a queue").max_size.get();
            bus.set_up_queue(queue, max);
            let chain = segments(&bus, &[16], &[16]);
            offer(&mut bus, queue, &chain);
            assert!(!bus.run(), "nobody listens yet");
            assert!(!bus.queue(queue).has_used());
        }
        bus.driver_ok();
        settle(&mut bus);
        reset_mends(subject, &mut bus, features);
    }
}

/// Past bugs 35, 40 and 41: after a reset the device is as new, field by field, wherever the
/// driver was; and it writes nothing into rings that are no longer its own.
pub fn reset_restores_all<D: VirtioDevice>(subject: &Subject<D>) {
    let stages: &[fn(&mut TestBus, Features)] = &[
        |bus, _| bus.core().write_status(Status::ACKNOWLEDGE),
        |bus, features| assert!(bus.negotiate(features)),
        |bus, features| {
            bus.negotiate(features);
            bus.set_up_queue(0, 2);
        },
        |bus, _| bus.core().write_status(Status::FAILED),
        TestBus::boot,
        |bus, features| {
            bus.boot(features);
            let config = *bus.queue(0).config();
            let wrong = Malformed::ALL.iter().find(|wrong| wrong.applies(&config));
            wrong.expect("some").forge(bus.queue(0));
            bus.notify(0);
            bus.run();
        },
    ];
    let fresh = state(&mut subject.bus());
    for features in subject.mixes() {
        let _during = During(format!("{features:?}"));
        let mut bus = subject.bus();
        for stage in stages {
            stage(&mut bus, features);
            bus.reset();
            assert_eq!(state(&mut bus), fresh);
            assert!(!bus.kicks_assigned());
        }
        bus.boot(features);
        subject.traffic(&mut bus);
        silent_after_reset(&mut bus);
        assert_eq!(state(&mut bus), fresh);
        bus.boot(features);
        subject.traffic(&mut bus);
    }
}

/// Past bug 44: nothing is lost over a pause, neither a notification nor an interrupt.
pub fn pause_and_resume<D: VirtioDevice>(subject: &Subject<D>) {
    subject.for_each_mix(|bus, features| {
        subject.traffic(bus);
        bus.core().pause();
        bus.core().resume();
        subject.traffic(bus);
        let queues = sample_queues(bus);
        let mut other = subject.bus();
        other.boot(features);
        subject.traffic(&mut other);
        let without = answers(&mut other, &queues, |_| ());
        bus.core().pause();
        let with = answers(bus, &queues, |bus| {
            assert!(!bus.run(), "nothing runs during a pause");
            let before = all_interrupts(bus);
            bus.core().resume();
            let raised = all_interrupts(bus);
            let one_more = |(after, before): (&u32, u32)| *after > before;
            assert!(raised.iter().zip(before).all(one_more), "all are raised");
        });
        assert_eq!(with, without, "the same as without a pause");
        reset_mends(subject, bus, features);
    });
}

/// A queue that is reset alone is as new, does nothing, and works once it is enabled again.
pub fn queue_reset<D: VirtioDevice>(subject: &Subject<D>) {
    subject.for_each_mix(|bus, _| {
        let queues = sample_queues(bus);
        for &queue in &queues {
            let max = bus.core().queue(queue).expect("a queue").max_size;
            bus.reset_queue(queue);
            bus.reset_queue(queue);
            assert_eq!(bus.core().queue(queue), Some(&QueueRegs::new(max)));
            bus.notify(queue);
            bus.run();
            assert!(!bus.needs_reset());
            bus.set_up_queue(queue, max.get());
            subject.traffic(bus);
        }
        queues.iter().for_each(|&queue| bus.reset_queue(queue));
        for &queue in &queues {
            bus.set_up_queue(queue, 2);
        }
        settle(bus);
        assert!(!bus.needs_reset());
    });
}

/// Without RING_RESET, queues are not reset one by one.
pub fn queue_reset_unnegotiated<D: VirtioDevice>(subject: &Subject<D>) {
    let features = subject.device().info().features | Features::VERSION_1;
    let mut bus = subject.bus();
    bus.boot(features);
    for queue in 0..bus.core().queue_count() {
        let before = bus.core().queue(queue).expect("a queue").clone();
        bus.core().reset_queue(queue);
        assert_eq!(bus.core().queue(queue), Some(&before));
    }
    subject.traffic(&mut bus);
}

/// All that a driver can see of a device that does not run, and what the device would save.
pub(super) fn state(bus: &mut TestBus) -> (CoreState, Vec<u8>) {
    let len = bus.core().config().len();
    let state = bus.core().save().expect("a device at rest can be saved");
    (state, bus.read_config(0, len))
}

/// Chains that are on their way when the device is reset are not used afterwards.
fn silent_after_reset(bus: &mut TestBus) {
    let queues = sample_queues(bus);
    for &queue in &queues {
        let chain = segments(bus, &[16], &[16]);
        offer(bus, queue, &chain);
    }
    bus.core().write_status(Status::RESET);
    assert!(bus.run_until(|bus| bus.core().status() == Status::RESET));
    let used = queues.iter().map(|&queue| bus.queue(queue).has_used());
    let before: Vec<bool> = used.collect();
    bus.run();
    let used = queues.iter().map(|&queue| bus.queue(queue).has_used());
    assert_eq!(used.collect::<Vec<bool>>(), before);
    bus.reset();
}

/// How many of some chains on each queue come back, with `meanwhile` done before they may.
fn answers(bus: &mut TestBus, queues: &[u16], meanwhile: impl FnOnce(&mut TestBus)) -> Vec<usize> {
    for &queue in queues {
        let chain = segments(bus, &[16], &[16]);
        offer(bus, queue, &chain);
    }
    meanwhile(bus);
    settle(bus);
    let used = queues.iter().map(|&queue| collect_all(bus, queue).len());
    used.collect()
}

fn all_interrupts(bus: &mut TestBus) -> Vec<u32> {
    let queues = 0..bus.core().queue_count();
    let config = bus.interrupts().config();
    queues
        .map(|queue| bus.interrupts().queue(queue))
        .chain([config])
        .collect()
}
