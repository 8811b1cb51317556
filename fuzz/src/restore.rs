//! Saved states that somebody has been at: each is refused, or gives a device that a guest can use.

use arbitrary::{Arbitrary, Unstructured};
use testkit::{Options, TestBus};
use virtio_bus::{CoreState, Status};
use virtio_ccw::{CcwState, QueueIndicators, TwoStage};
use virtio_device::{Features, RingPosition};
use virtio_mmio::MmioState;
use virtio_pci::PciState;

use crate::blk::{Disk, Look};
use crate::device::{Subject, usable};
use crate::forge::{Few, Place, steps};
use crate::front::{Front, Ground, Kind};
use crate::rng::Fickle;
use crate::serial::Ends;
use crate::{ccw, mmio, pci};

/// A running device is saved, its state changed, and restored into another one.
pub fn restore(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let (Ok(what), Ok(features)) = (u.arbitrary(), u.arbitrary()) else {
        return;
    };
    let features = Features::from_bits(u64::into(features));
    match what {
        What::Blk => on_bus(Disk::new(Look::default()), features, &mut u),
        What::Rng => on_bus(Fickle::default(), features, &mut u),
        What::Serial => on_bus(Ends::new(true), features, &mut u),
        What::Mmio => on_mmio(features, &mut u),
        What::Pci => on_pci(features, &mut u),
        What::Ccw => on_ccw(features, &mut u),
    }
}

#[derive(Arbitrary, Debug)]
enum What {
    Blk,
    Rng,
    Serial,
    Mmio,
    Pci,
    Ccw,
}

/// A change to the state that all transports share.
#[derive(Arbitrary, Debug)]
enum Change {
    Version(u32),
    Status(u8),
    Feature(u8),
    Features(u64),
    Size(u8, u16),
    Descriptor(u8, Place),
    Driver(u8, Place),
    Device(u8, Place),
    Enabled(u8, bool),
    Position(u8, Option<(u16, u16)>),
    Forget(u8),
    Repeat(u8),
    Kind,
    DeviceVersion(u32),
    Byte(u16, u8),
    Cut(u16),
    Append(Few<u8>),
}

fn change(state: &mut CoreState, change: Change) {
    let queue = |n: u8, count: usize| usize::from(n).checked_rem(count).unwrap_or(0);
    let count = state.queues.len();
    let bytes = &mut state.device.bytes;
    match change {
        Change::Version(version) => state.version = version,
        Change::Status(status) => state.status = Status(status),
        Change::Feature(bit) => {
            let bits = state.driver_features.bits() ^ Features::bit(bit).bits();
            state.driver_features = Features::from_bits(bits);
        }
        Change::Features(bits) => state.driver_features = Features::from_bits(bits.into()),
        Change::Forget(n) => drop(state.queues.drain(queue(n, count)..)),
        Change::Repeat(n) => {
            if let Some(again) = state.queues.get(queue(n, count)).cloned() {
                state.queues.push(again);
            }
        }
        Change::Kind => state.device.kind.push('x'),
        Change::DeviceVersion(version) => state.device.version = version,
        Change::Byte(at, byte) => {
            let at = usize::from(at).checked_rem(bytes.len()).unwrap_or(0);
            bytes.iter_mut().skip(at).take(1).for_each(|to| *to ^= byte);
        }
        Change::Cut(len) => bytes.truncate(len.into()),
        Change::Append(more) => bytes.extend(more.0),
        Change::Size(n, ..)
        | Change::Descriptor(n, ..)
        | Change::Driver(n, ..)
        | Change::Device(n, ..)
        | Change::Enabled(n, ..)
        | Change::Position(n, ..) => {
            let queue = queue(n, count);
            change_queue(state, queue, change);
        }
    }
}

fn change_queue(state: &mut CoreState, queue: usize, change: Change) {
    let Some(queue) = state.queues.get_mut(queue) else {
        return;
    };
    match change {
        Change::Size(_, size) => queue.size = size,
        Change::Descriptor(_, place) => queue.descriptor = place.address(),
        Change::Driver(_, place) => queue.driver = place.address(),
        Change::Device(_, place) => queue.device = place.address(),
        Change::Enabled(_, on) => queue.enabled = on,
        Change::Position(_, position) => {
            queue.position = position.map(|(avail, used)| RingPosition { avail, used });
        }
        _ => {}
    }
}

fn on_bus<S: Subject>(mut subject: S, features: Features, u: &mut Unstructured<'_>) {
    let mut bus = TestBus::new(subject.device());
    let offered = bus.core().offered();
    let device = Features::from_bits(offered.bits() & 0xff_ffff);
    bus.boot(offered & features | device | Features::VERSION_1);
    subject.probe(&mut bus);
    bus.core().pause();
    let mut state = bus.core().save().expect("a paused device");
    steps(u)
        .into_iter()
        .for_each(|step| change(&mut state, step));
    let mut bus = bus.successor(subject.device(), Options::default());
    match bus.core().restore(&state) {
        Ok(()) => use_it(&mut bus),
        Err(_) => assert_eq!(bus.core().status(), Status::RESET, "as it was"),
    }
    bus.reset();
    let features = usable(&mut bus);
    bus.boot(features);
    subject.probe(&mut bus);
}

fn use_it(bus: &mut TestBus) {
    bus.core().resume();
    (0..bus.core().queue_count()).for_each(|queue| bus.notify(queue));
    let busy = (0..16).all(|_| bus.run());
    assert!(!busy, "the device does not come to rest");
    bus.core().write_config(0, &[1; 16]);
    bus.core().reset_queue(0);
    bus.core().pause();
    let again = bus.core().save().map(drop);
    assert!(again.is_ok(), "a paused device can be saved: {again:?}");
    bus.core().resume();
    bus.run();
}

/// A change to the registers of a transport.
#[derive(Arbitrary, Debug)]
enum OnBus {
    Core(Change),
    Version(u32),
    Word(u8, u32),
    Byte(u8, u16, u8),
    Resize(u8, u16),
    Legacy(bool),
}

fn on_mmio(features: Features, u: &mut Unstructured<'_>) {
    let old = mmio::Board::new(Ground::new(), Kind::Blk, false);
    let _ = old.ground.boot(&old, features);
    old.transport.pause();
    let mut state = old.transport.save().expect("a paused device");
    steps(u)
        .into_iter()
        .for_each(|step| change_mmio(&mut state, step));
    let ground = Ground {
        runner: Default::default(),
        ..old.ground.clone()
    };
    let new = mmio::Board::new(ground, Kind::Blk, false);
    if new.transport.restore(&state).is_ok() {
        new.transport.resume();
        new.notify(0);
        new.ground.settle();
    } else {
        assert_eq!(new.status(), 0, "as it was");
    }
    new.mend();
}

fn change_mmio(state: &mut MmioState, step: OnBus) {
    match step {
        OnBus::Core(core) => change(&mut state.core, core),
        OnBus::Version(version) => state.version = version,
        OnBus::Legacy(legacy) => state.legacy = legacy,
        OnBus::Word(which, value) => match which % 5 {
            0 => state.device_features_sel = value,
            1 => state.driver_features_sel = value,
            2 => state.queue_sel = value,
            3 => state.interrupt_status = value,
            _ => state.guest_page_size = value,
        },
        OnBus::Byte(_, at, byte) => {
            let at = usize::from(at)
                .checked_rem(state.queue_align.len())
                .unwrap_or(0);
            let align = state.queue_align.get_mut(at);
            align.into_iter().for_each(|align| *align = byte.into());
        }
        OnBus::Resize(_, len) => state.queue_align.resize(len.into(), 4096),
    }
}

/// A change to the registers of the transport on channel I/O.
#[derive(Arbitrary, Debug)]
enum OnChannel {
    Core(Change),
    Version(u32),
    Revision(Option<u16>),
    Silent,
    Classic(Place),
    Adapter(Place, Place, u64, u8),
    Config(Option<Place>),
}

fn on_ccw(features: Features, u: &mut Unstructured<'_>) {
    let old = ccw::Board::new(Ground::new(), Kind::Blk.device());
    let _ = old.ground.boot(&old, features);
    old.transport.pause();
    let mut state = old.transport.save().expect("a paused device");
    steps(u)
        .into_iter()
        .for_each(|step| change_ccw(&mut state, step));
    let ground = Ground {
        runner: Default::default(),
        ..old.ground.clone()
    };
    let new = ccw::Board::new(ground, Kind::Blk.device());
    if new.transport.restore(&state).is_ok() {
        new.transport.resume();
        new.notify(0);
        new.ground.settle();
        new.transport.pause();
        let again = new.transport.save().expect("a paused device");
        assert_eq!(again.queue_indicators, state.queue_indicators);
    }
    new.mend(Kind::Blk.request());
}

fn change_ccw(state: &mut CcwState, step: OnChannel) {
    match step {
        OnChannel::Core(core) => change(&mut state.core, core),
        OnChannel::Version(version) => state.version = version,
        OnChannel::Revision(revision) => state.revision = revision,
        OnChannel::Silent => state.queue_indicators = QueueIndicators::None,
        OnChannel::Classic(place) => {
            let address = place.address();
            state.queue_indicators = QueueIndicators::Classic { address };
        }
        OnChannel::Adapter(summary, indicator, bit, isc) => {
            state.queue_indicators = QueueIndicators::TwoStage(TwoStage {
                summary: summary.address(),
                address: indicator.address(),
                bit,
                isc,
            });
        }
        OnChannel::Config(place) => state.config_indicators = place.map(Place::address),
    }
}

fn on_pci(features: Features, u: &mut Unstructured<'_>) {
    let ground = Ground::new();
    let look = u.arbitrary().unwrap_or_default();
    let old = pci::Board::new(&ground, Kind::Blk, look);
    let _ = ground.boot(&old, features);
    old.transport.pause();
    let mut state = old.transport.save().expect("a paused device");
    steps(u)
        .into_iter()
        .for_each(|step| change_pci(&mut state, step));
    drop(old);
    let new = pci::Board::new(&ground, Kind::Blk, look);
    if new.transport.restore(&state).is_ok() {
        new.transport.resume();
        new.notify(0);
        ground.settle();
    } else {
        assert_eq!(new.status(), 0, "in its reset state");
    }
    vm_pci::PciFunction::reset(&*new.transport);
    new.probe(&ground);
}

fn change_pci(state: &mut PciState, step: OnBus) {
    match step {
        OnBus::Core(core) => change(&mut state.core, core),
        OnBus::Version(version) => state.version = version,
        OnBus::Legacy(legacy) => state.legacy = legacy,
        OnBus::Word(which, value) => match which % 5 {
            0 => state.device_feature_select = value,
            1 => state.driver_feature_select = value,
            2 => state.queue_select = value as u16,
            3 => state.isr = value as u8,
            _ => state.config_vector = value as u16,
        },
        OnBus::Byte(which, at, byte) => {
            let bytes = area(state, which);
            let at = usize::from(at).checked_rem(bytes.len()).unwrap_or(0);
            bytes.iter_mut().skip(at).take(1).for_each(|to| *to ^= byte);
        }
        OnBus::Resize(3.., len) => state.queue_vectors.resize(len.into(), 1),
        OnBus::Resize(which, len) => area(state, which).resize(len.into(), 0),
    }
}

fn area(state: &mut PciState, which: u8) -> &mut Vec<u8> {
    match which % 3 {
        0 => &mut state.config_space,
        1 => &mut state.msix_table,
        _ => &mut state.msix_pending,
    }
}
