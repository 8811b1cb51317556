//! The queue registers.

use virtio_device::{Features, RingArea, VirtioDevice};

use super::{Subject, sample_queues};
use crate::TestBus;

/// Past bug 30: a queue that is enabled keeps its registers, and so does every queue of a device
/// that runs.
pub fn registers_are_fixed<D: VirtioDevice>(subject: &Subject<D>) {
    let features = subject.device().info().features | Features::VERSION_1;
    for features in [features, features | Features::RING_RESET] {
        let mut bus = subject.bus();
        assert!(bus.negotiate(features));
        for queue in sample_queues(&mut bus) {
            let max = bus.core().queue(queue).expect("a queue").max_size.get();
            bus.set_up_queue(queue, max);
            assert_fixed(&mut bus, queue);
        }
        bus.reset();
        bus.boot(features);
        for queue in sample_queues(&mut bus) {
            assert_fixed(&mut bus, queue);
        }
        subject.traffic(&mut bus);
    }
    off_queues_stay_off(subject, features);
}

/// Past bugs 4 and 31: queue numbers past the last are nobody's.
pub fn queue_selectors<D: VirtioDevice>(subject: &Subject<D>) {
    subject.for_each_mix(|bus, _| {
        let count = bus.core().queue_count();
        for queue in [count, count + 1, 0x7fff, 0x8000, u16::MAX] {
            assert!(bus.core().queue(queue).is_none());
            scribble(bus, queue);
            bus.core().enable_queue(queue);
            bus.core().reset_queue(queue);
            bus.core().set_legacy_queue(queue, 0x1000, 4096);
            bus.notify(queue);
        }
        for queue in [u32::from(count), 0x1_0000, 0x8000_0000, u32::MAX] {
            bus.core().kicks().notify(queue);
        }
        assert!(!bus.run(), "nothing was notified");
        subject.traffic(bus);
    });
}

fn off_queues_stay_off<D: VirtioDevice>(subject: &Subject<D>, features: Features) {
    let mut bus = subject.bus();
    assert!(bus.negotiate(features));
    bus.driver_ok();
    for queue in sample_queues(&mut bus) {
        assert_fixed(&mut bus, queue);
        bus.core().enable_queue(queue);
        assert!(!bus.core().queue(queue).expect("a queue").enabled);
    }
}

fn assert_fixed(bus: &mut TestBus, queue: u16) {
    let before = bus.core().queue(queue).expect("a queue").clone();
    scribble(bus, queue);
    assert_eq!(bus.core().queue(queue), Some(&before));
}

fn scribble(bus: &mut TestBus, queue: u16) {
    let core = bus.core();
    for size in [0, 1, 3, 4, u16::MAX] {
        core.set_queue_size(queue, size);
    }
    for which in [RingArea::Descriptor, RingArea::Driver, RingArea::Device] {
        core.set_queue_address(queue, which, u64::MAX, 0xffff_ffff);
        core.set_queue_address(queue, which, u64::MAX, 0xffff_ffff << 32);
    }
}
