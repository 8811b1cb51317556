//! What goes through the rings: well-formed, odd and malformed.

use virtio_bus::Status;
use virtio_device::{Features, RingArea, RingPosition, VirtioDevice};

use super::{
    During, Subject, collect_all, offer, release, reset_mends, sample_queues, segments, settle,
};
use crate::{BOUNDARY, END, Malformed, Segment, TestBus, clear_dirty, is_dirty};

/// Past bugs 3, 8 and 22: rings filled to the last descriptor, more than once around. Every chain
/// that the device took has come back by the time it is paused, once, and in order if that was
/// negotiated.
pub fn full_rings<D: VirtioDevice>(subject: &Subject<D>) {
    subject.for_each_mix(|bus, features| {
        for queue in sample_queues(bus) {
            let mut used = 0;
            for lap in 0..3 {
                used += fill(bus, queue, lap);
            }
            check_positions(bus, queue, used);
            if bus.needs_reset() {
                bus.reset();
                bus.boot(features);
            }
        }
        reset_mends(subject, bus, features);
    });
}

/// Past bug 1: buffers of no bytes, anywhere.
pub fn zero_length_buffers<D: VirtioDevice>(subject: &Subject<D>) {
    let shapes: &[(&[u32], &[u32])] = &[
        (&[0], &[]),
        (&[], &[0]),
        (&[0, 0], &[0, 0]),
        (&[0, 16, 0], &[0, 16, 0, 1, 0]),
    ];
    subject.for_each_mix(|bus, features| {
        for queue in sample_queues(bus) {
            for (readable, writable) in shapes {
                let chain = segments(bus, readable, writable);
                try_chain(bus, features, queue, &chain);
                release(bus, &chain);
            }
        }
        reset_mends(subject, bus, features);
    });
}

/// Past bugs 2, 16, 18 and 19: well-formed chains of buffers that are not memory, or not all of
/// it, or all of it. The device answers or gives up; it does not panic or hang.
pub fn odd_chains<D: VirtioDevice>(subject: &Subject<D>) {
    let places = [
        (END, 16),
        (END - 8, 16),
        (BOUNDARY - 8, 16),
        (0, u32::MAX),
        (u64::MAX - 16, 16),
        (1 << 63, 1 << 31),
    ];
    subject.for_each_mix(|bus, features| {
        for queue in sample_queues(bus) {
            for (address, len) in places {
                let [readable, writable] = [false, true].map(|writable| Segment {
                    address,
                    len,
                    writable,
                });
                let header = segments(bus, &[16], &[]);
                try_chain(bus, features, queue, &[readable]);
                try_chain(bus, features, queue, &[writable]);
                try_chain(bus, features, queue, &[header[0], writable]);
                try_chain(bus, features, queue, &[readable, readable]);
                try_chain(bus, features, queue, &[readable, writable, writable]);
                release(bus, &header);
            }
        }
        reset_mends(subject, bus, features);
    });
}

/// Past bugs 5, 6, 7, 9, 10, 11, 12 and 25: everything that breaks the rules of the ring, on every
/// queue. The device says so, once, does nothing more, and a reset mends it.
pub fn malformed_chains<D: VirtioDevice>(subject: &Subject<D>) {
    for features in subject.mixes() {
        let mut bus = subject.bus();
        for &malformed in Malformed::ALL {
            let noticed = try_everywhere(&mut bus, features, malformed);
            let _during = During(format!("{malformed:?}, {features:?}"));
            assert_ne!(
                noticed,
                Some(false),
                "the device looked at none of its queues"
            );
        }
        bus.boot(features);
        subject.traffic(&mut bus);
    }
}

/// Past bugs 36 and 37: rings that lie nowhere, or cannot be. DRIVER_OK comes back all the same.
pub fn unusable_rings<D: VirtioDevice>(subject: &Subject<D>) {
    for features in subject.mixes() {
        let mut bus = subject.bus();
        for (which, address) in [
            (RingArea::Descriptor, 1),
            (RingArea::Driver, 1),
            (RingArea::Device, 2),
            (RingArea::Descriptor, END),
            (RingArea::Driver, END - 4),
            (RingArea::Device, u64::MAX - 3),
            (RingArea::Descriptor, BOUNDARY - 16),
        ] {
            let _during = During(format!("{which:?} at {address:#x}, {features:?}"));
            let before = bus.interrupts().config();
            assert!(bus.negotiate(features));
            start_with(&mut bus, which, address);
            expect_one_complaint(&mut bus, before);
            bus.reset();
        }
        bus.boot(features);
        subject.traffic(&mut bus);
    }
    odd_sizes(subject);
}

/// Of a split ring, the device writes the used ring, but for its flags with EVENT_IDX, and nothing
/// else.
pub fn what_is_the_drivers<D: VirtioDevice>(subject: &Subject<D>) {
    subject.for_each_mix(|bus, features| {
        if features_packed(&features) {
            return;
        }
        for queue in sample_queues(bus) {
            let flags = bus.queue(queue).config().device;
            let before: u16 = bus.ram().load(flags);
            if features.contains(Features::EVENT_IDX) {
                bus.ram().store(flags, MARK);
            }
            for _ in 0..3 {
                let chain = segments(bus, &[16], &[1, 512]);
                offer(bus, queue, &chain);
                let areas = drivers_areas(bus, queue);
                settle(bus);
                assert_eq!(drivers_areas(bus, queue), areas, "queue {queue}");
                collect_all(bus, queue);
            }
            let after: u16 = bus.ram().load(flags);
            if features.contains(Features::EVENT_IDX) {
                assert_eq!((before, after), (0, MARK), "flags of queue {queue}");
            } else {
                assert!(u16::from_le(after) <= 1, "flags of queue {queue}");
            }
        }
    });
}

/// Descriptor table and available ring of a split ring.
fn drivers_areas(bus: &mut TestBus, queue: u16) -> [Vec<u8>; 2] {
    let config = *bus.queue(queue).config();
    let size = usize::from(config.size.get());
    [
        (config.descriptor, 16 * size),
        (config.driver, 6 + 2 * size),
    ]
    .map(|(area, len)| bus.ram().read(area, len))
}

/// What the device wrote, it marked dirty: buffers and used rings.
pub fn dirty_pages<D: VirtioDevice>(subject: &Subject<D>) {
    subject.for_each_mix(|bus, _| {
        for queue in sample_queues(bus) {
            let address = bus.heap().alloc(0x3000, 0x1000);
            let chain = [Segment {
                address,
                len: 0x3000,
                writable: true,
            }];
            offer(bus, queue, &chain);
            clear_dirty(bus.memory());
            bus.run();
            let config = *bus.queue(queue).config();
            let ring = match features_packed(&config.features) {
                true => config.descriptor,
                false => config.device,
            };
            if bus.queue(queue).has_used() {
                assert!(is_dirty(bus.memory(), ring, 4), "the ring");
            }
            for used in collect_all(bus, queue) {
                assert!(
                    is_dirty(bus.memory(), address, used.len.into()),
                    "the buffer"
                );
            }
            if bus.needs_reset() {
                return;
            }
        }
    });
}

fn features_packed(features: &Features) -> bool {
    features.contains(Features::RING_PACKED)
}

/// Fills the queue with chains of various shapes and lets the device have them; returns how many
/// came back.
fn fill(bus: &mut TestBus, queue: u16, lap: usize) -> u16 {
    let shapes: [(&[u32], &[u32]); 4] = [
        (&[16], &[64]),
        (&[8, 8], &[1, 63]),
        (&[16, 512], &[1]),
        (&[], &[64]),
    ];
    let mut chains = Vec::new();
    for i in lap.. {
        let (readable, writable) = shapes[i % shapes.len()];
        let chain = segments(bus, readable, writable);
        let added = bus.queue(queue).add(&chain);
        chains.push(chain);
        if added.is_none() {
            break;
        }
    }
    bus.queue(queue).publish();
    bus.notify(queue);
    bus.run_until(|bus| bus.queue(queue).in_flight() == 0 || !bus.run());
    let used = collect_all(bus, queue).len() as u16;
    // The memory of what the device still has is not given up.
    if bus.queue(queue).in_flight() == 0 {
        chains.iter().for_each(|chain| release(bus, chain));
    }
    used
}

/// After a pause nothing is in flight: the device has taken as many chains as it has given back.
fn check_positions(bus: &mut TestBus, queue: u16, mut used: u16) {
    bus.core().pause();
    used += collect_all(bus, queue).len() as u16;
    let state = bus.core().save().expect("a paused device can be saved");
    let saved = &state.queues[usize::from(queue)];
    if let Some(RingPosition { avail, used: at }) = saved.position {
        assert_eq!(
            avail, at,
            "queue {queue}: chains were taken and not given back"
        );
        if !features_packed(&state.driver_features) {
            assert_eq!(
                at, used,
                "queue {queue}: chains were given back twice or never"
            );
        }
    }
    bus.core().resume();
    bus.run();
}

/// Offers one chain; the device may do with it what it likes, short of harm.
fn try_chain(bus: &mut TestBus, features: Features, queue: u16, chain: &[Segment]) {
    let _during = During(format!("{chain:x?} on queue {queue}"));
    let before = bus.interrupts().config();
    if offer(bus, queue, chain).is_none() {
        bus.reset();
        bus.boot(features);
        offer(bus, queue, chain);
    }
    let complained = expect_one_complaint(bus, before);
    collect_all(bus, queue);
    if complained {
        bus.reset();
        bus.boot(features);
    }
}

/// Whether the device noticed on any queue; `None` if this cannot happen on such a device.
fn try_everywhere(bus: &mut TestBus, features: Features, malformed: Malformed) -> Option<bool> {
    let mut noticed = None;
    for queue in sample_queues(bus) {
        let _during = During(format!("{malformed:?} on queue {queue}, {features:?}"));
        bus.boot(features);
        if malformed.applies(bus.queue(queue).config()) {
            noticed = Some(break_queue(bus, queue, malformed) || noticed == Some(true));
        }
        bus.reset();
    }
    noticed
}

/// True if the device noticed.
fn break_queue(bus: &mut TestBus, queue: u16, malformed: Malformed) -> bool {
    let before = bus.interrupts().config();
    malformed.forge(bus.queue(queue));
    bus.notify(queue);
    settle(bus);
    let noticed = expect_one_complaint(bus, before);
    // The same again, and again: no second look without a reset.
    for _ in 0..3 {
        bus.notify(queue);
        settle(bus);
    }
    assert_eq!(expect_one_complaint(bus, before), noticed);
    assert!(!bus.queue(queue).has_used(), "nothing of it was used");
    noticed
}

/// DEVICE_NEEDS_RESET comes with one configuration interrupt, or neither comes.
fn expect_one_complaint(bus: &mut TestBus, before: u32) -> bool {
    settle(bus);
    let needs_reset = bus.needs_reset();
    let interrupts = bus.interrupts().config() - before;
    assert_eq!(
        interrupts,
        u32::from(needs_reset),
        "the driver hears of it once"
    );
    needs_reset
}

fn start_with(bus: &mut TestBus, which: RingArea, address: u64) {
    for queue in 0..bus.core().queue_count() {
        let core = bus.core();
        let max = core.queue(queue).expect("a queue").max_size.get();
        for (other, good) in [
            (RingArea::Descriptor, 0x10000),
            (RingArea::Driver, 0x90000),
            (RingArea::Device, 0xb0000),
        ] {
            let address = if other == which { address } else { good };
            core.set_queue_address(queue, other, address, u64::MAX);
        }
        core.set_queue_size(queue, max);
        core.enable_queue(queue);
    }
    bus.driver_ok();
    assert!(bus.core().status().contains(Status::DRIVER_OK));
}

fn odd_sizes<D: VirtioDevice>(subject: &Subject<D>) {
    for size in [0, 3, 0x8001, u16::MAX] {
        let mut bus = subject.bus();
        assert!(bus.negotiate(Features::VERSION_1));
        bus.core().set_queue_size(0, size);
        bus.core().enable_queue(0);
        bus.driver_ok();
        assert!(bus.needs_reset(), "a queue of {size}");
        assert_eq!(bus.interrupts().config(), 1);
        bus.reset();
        assert!(!bus.needs_reset());
    }
}

/// What no device writes into the flags of a used ring.
const MARK: u16 = 0x5a5a;
