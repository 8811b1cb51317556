//! The conformance suite that every device crate runs, by [`device_suite!`](crate::device_suite!).
//!
//! It knows nothing of the device but that it is one: what is tested is what VIRTIO 1.4 asks of
//! every device (sections 2 and 3), and that no driver can do harm.

mod chains;
mod config;
mod features;
mod lifecycle;
mod race;
mod registers;
mod saved;
mod status;

pub use chains::{
    dirty_pages, full_rings, malformed_chains, odd_chains, unusable_rings, what_is_the_drivers,
    zero_length_buffers,
};
pub use config::config_space;
pub use features::{feature_negotiation, feature_registers};
pub use lifecycle::{
    notify_before_driver_ok, pause_and_resume, queue_reset, queue_reset_unnegotiated,
    reset_restores_all, traffic,
};
pub use race::{racing_driver, threads_stop};
pub use registers::{queue_selectors, registers_are_fixed};
pub use saved::{mutated_states, reset_after_restore, save_and_restore};
pub use status::status_machine;

use virtio_device::{Features, VirtioDevice};

use crate::{Options, Segment, TestBus, Used};

/// A device under test.
pub struct Subject<D> {
    make: fn() -> D,
    traffic: fn(&mut TestBus),
}

impl<D: VirtioDevice> Subject<D> {
    /// `make` gives a new device, equal each time. `traffic` sends well-formed requests to a
    /// device that is ready and asserts that they are answered.
    pub fn new(make: fn() -> D, traffic: fn(&mut TestBus)) -> Self {
        Self { make, traffic }
    }

    fn device(&self) -> D {
        (self.make)()
    }

    fn bus(&self) -> TestBus {
        TestBus::new(self.device())
    }

    fn bus_with(&self, options: Options) -> TestBus {
        TestBus::with(self.device(), options)
    }

    fn traffic(&self, bus: &mut TestBus) {
        (self.traffic)(bus);
        assert!(!bus.needs_reset(), "good requests break nothing");
    }

    /// Every mix of ring features, on top of all that the device itself offers.
    fn mixes(&self) -> Vec<Features> {
        let ring = [
            Features::RING_PACKED,
            Features::INDIRECT_DESC,
            Features::EVENT_IDX,
            Features::IN_ORDER,
        ];
        let base = self.device().info().features | Features::VERSION_1 | Features::RING_RESET;
        let mix = |bits: usize| {
            let chosen = ring.iter().enumerate().filter(|(i, _)| bits >> i & 1 != 0);
            chosen.fold(base, |mix, (_, &feature)| mix | feature)
        };
        (0..1 << ring.len()).map(mix).collect()
    }

    /// Runs `test` on a running device for every mix; a failure says for which.
    fn for_each_mix(&self, test: impl Fn(&mut TestBus, Features)) {
        for features in self.mixes() {
            let _during = During(format!("{features:?}"));
            let mut bus = self.bus();
            bus.boot(features);
            test(&mut bus, features);
        }
    }
}

/// Makes a device crate run the suite: one `#[test]` for each of its parts.
///
/// ```text
/// testkit::device_suite! {
///     device: || Rng::new(&RngProps::default(), HostRandom).unwrap(),
///     traffic: |bus| assert_eq!(bus.request(0, &[], &[16]).len, 16),
/// }
/// ```
#[macro_export]
macro_rules! device_suite {
    (device: $device:expr $(,)?) => {
        $crate::device_suite!(device: $device, traffic: |_| {});
    };
    (device: $device:expr, traffic: $traffic:expr $(,)?) => {
        $crate::device_suite! { @tests $device, $traffic,
            status_machine, feature_negotiation, feature_registers, registers_are_fixed,
            queue_selectors, config_space, traffic, full_rings, zero_length_buffers, odd_chains,
            malformed_chains, unusable_rings, what_is_the_drivers, dirty_pages, notify_before_driver_ok,
            reset_restores_all, pause_and_resume, queue_reset, queue_reset_unnegotiated,
            save_and_restore, reset_after_restore, mutated_states, racing_driver, threads_stop,
        }
    };
    (@tests $device:expr, $traffic:expr, $($name:ident,)*) => {
        $(
            #[test]
            fn $name() {
                $crate::suite::$name(&$crate::suite::Subject::new($device, $traffic));
            }
        )*
    };
}

/// Says on a failure what was being tested.
struct During(String);

impl Drop for During {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("during: {}", self.0);
        }
    }
}

/// Queues to try one by one: a device with many has many alike.
fn sample_queues(bus: &mut TestBus) -> Vec<u16> {
    let count = bus.core().queue_count();
    let last = count.checked_sub(1).filter(|&last| last >= SAMPLE);
    (0..count.min(SAMPLE)).chain(last).collect()
}

/// Adds a chain to queue `queue` and notifies, whatever the device asks for.
fn offer(bus: &mut TestBus, queue: u16, segments: &[Segment]) -> Option<u16> {
    let id = bus.queue(queue).add(segments);
    bus.queue(queue).publish();
    bus.notify(queue);
    id
}

/// A chain of `readable` and `writable` buffers of these lengths in good memory.
fn segments(bus: &TestBus, readable: &[u32], writable: &[u32]) -> Vec<Segment> {
    let segment = |&len: &u32, writable| Segment {
        address: bus.heap().alloc(len.into(), 1),
        len,
        writable,
    };
    let readable = readable.iter().map(|len| segment(len, false));
    let writable = writable.iter().map(|len| segment(len, true));
    readable.chain(writable).collect()
}

/// Gives up the memory of a chain.
fn release(bus: &TestBus, segments: &[Segment]) {
    for segment in segments {
        bus.heap().free(segment.address, segment.len.into());
    }
}

/// All that queue `queue` has used; the driver model checks each.
fn collect_all(bus: &mut TestBus, queue: u16) -> Vec<Used> {
    std::iter::from_fn(|| bus.queue(queue).collect()).collect()
}

/// The workers come to rest: none goes on without being notified.
fn settle(bus: &mut TestBus) {
    assert!(bus.run_until(|bus| !bus.run()), "a worker spins");
}

/// A reset mends whatever happened, and the device is of use again.
fn reset_mends<D: VirtioDevice>(subject: &Subject<D>, bus: &mut TestBus, features: Features) {
    bus.reset();
    bus.boot(features);
    subject.traffic(bus);
}

const SAMPLE: u16 = 6;
