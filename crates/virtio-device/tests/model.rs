//! Both engines against a reference that is too simple to be wrong: sequences of what driver and
//! device may do, in any order. Past bug 13 in particular.

mod common;

use std::collections::VecDeque;

use common::Rig;
use proptest::collection::vec;
use proptest::prelude::*;
use testkit::{DriverRing, Segment};
use virtio_device::{Buffer, Chain, Features};

#[derive(Clone, Debug)]
enum Driver {
    /// Segments (length, writable), and whether they may go into an indirect table.
    Add(Vec<(u32, bool)>, bool),
    Publish,
    Collect,
    Interrupts(bool),
    /// Waits for this used index or position, and does not move on when it collects.
    Event(u16),
}

#[derive(Clone, Debug)]
enum Step {
    Driver(Driver),
    Pop,
    /// Which of the held chains, and the bytes that it claims to have written.
    Push(usize, u32),
    Publish,
}

/// What the driver did on its own, or one wake-up of the device, with the driver at work meanwhile.
#[derive(Clone, Debug)]
enum Turn {
    Driver(Driver),
    Wake(Vec<Step>),
}

fn driver() -> impl Strategy<Value = Driver> {
    let segment = (0..64_u32, any::<bool>());
    prop_oneof![
        4 => (vec(segment, 1..5), any::<bool>()).prop_map(|(s, i)| Driver::Add(s, i)),
        3 => Just(Driver::Publish),
        2 => Just(Driver::Collect),
        1 => any::<bool>().prop_map(Driver::Interrupts),
        1 => (0..20_u16, any::<bool>()).prop_map(|(at, wrap)| Driver::Event(at | u16::from(wrap) << 15)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => driver().prop_map(Step::Driver),
        4 => Just(Step::Pop),
        4 => (any::<usize>(), 0..200_u32).prop_map(|(i, n)| Step::Push(i, n)),
        1 => Just(Step::Publish),
    ]
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        driver().prop_map(Turn::Driver),
        vec(step(), 0..24).prop_map(Turn::Wake),
    ]
}

fn features() -> impl Strategy<Value = Features> {
    proptest::sample::select(common::mixes().collect::<Vec<_>>())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bug_13_engines_agree_with_the_reference(
        features in features(),
        size in 1..20_u16,
        turns in vec(turn(), 1..60),
    ) {
        let packed = features.contains(Features::RING_PACKED);
        let size = if packed { size } else { size.next_power_of_two() };
        let mut test = Test::new(size, features);
        for turn in turns {
            match turn {
                Turn::Driver(step) => test.reference.drive(&mut test.rig.driver, step),
                Turn::Wake(steps) => test.wake(steps),
            }
        }
        test.finish();
    }
}

struct Test {
    rig: Rig,
    /// Chains that the device holds, with their ids.
    held: Vec<(Chain, u16)>,
    reference: Reference,
}

/// A chain on its way.
#[derive(Clone, Debug)]
struct Expected {
    id: u16,
    segments: Vec<Segment>,
    /// Descriptors in the ring.
    descriptors: u16,
}

/// Lists where the engines have counters.
struct Reference {
    features: Features,
    size: u16,
    added: Vec<Expected>,
    available: VecDeque<Expected>,
    /// Popped, in order; with what was pushed, if it was.
    taken: VecDeque<(Expected, Option<u32>)>,
    /// Used, in order, and not collected.
    used: VecDeque<(u16, u32)>,
    /// Everything that was ever used: the position of each entry or descriptor.
    spots: Vec<u32>,
    /// Of `spots`, those that the driver was already considered for.
    considered: usize,
    /// The next spot: used index, or position with the wrap counter in bit 15.
    spot: u32,
}

impl Test {
    fn new(size: u16, features: Features) -> Self {
        let packed = features.contains(Features::RING_PACKED);
        let reference = Reference {
            features,
            size,
            added: Vec::new(),
            available: VecDeque::new(),
            taken: VecDeque::new(),
            used: VecDeque::new(),
            spots: Vec::new(),
            considered: 0,
            spot: if packed { 1 << 15 } else { 0 },
        };
        Self {
            rig: Rig::new(size, features),
            held: Vec::new(),
            reference,
        }
    }

    fn wake(&mut self, steps: Vec<Step>) {
        let Self {
            rig,
            held,
            reference,
        } = self;
        let Rig {
            memory,
            driver,
            ring,
            interrupts,
            ..
        } = rig;
        let mut budget = reference.size;
        let memory: &testkit::Memory = memory;
        let mut queue = virtio_device::Virtqueue::attach(0, ring, memory, interrupts).unwrap();
        for step in steps {
            match step {
                Step::Driver(step) => reference.drive(driver, step),
                Step::Pop => {
                    let mut chain = Chain::new();
                    let expected = reference.available.front().filter(|_| budget > 0).cloned();
                    let popped = queue.pop(&mut chain).unwrap();
                    assert_eq!(popped, expected.is_some());
                    if let Some(expected) = expected {
                        budget -= 1;
                        check(&chain, &expected);
                        reference.available.pop_front();
                        held.push((chain, expected.id));
                        reference.taken.push_back((expected, None));
                    }
                }
                Step::Push(which, written) if !held.is_empty() => {
                    let (mut chain, id) = held.swap_remove(which % held.len());
                    queue.push(&mut chain, written);
                    assert!(!chain.is_live());
                    queue.push(&mut chain, written);
                    reference.push(id, written);
                }
                Step::Push(..) => {}
                Step::Publish => {
                    let before = interrupts.queue(0);
                    queue.publish();
                    let wanted = reference.wants_interrupt(driver);
                    assert_eq!(interrupts.queue(0) - before, wanted);
                }
            }
        }
        let before = interrupts.queue(0);
        drop(queue);
        let wanted = reference.wants_interrupt(driver);
        assert_eq!(
            interrupts.queue(0) - before,
            wanted,
            "at the end of the wake-up"
        );
        let in_flight = reference
            .taken
            .iter()
            .filter(|(_, pushed)| pushed.is_none());
        let waiting = if reference.features.contains(Features::IN_ORDER) {
            reference.taken.len()
        } else {
            in_flight.count()
        };
        assert_eq!(ring.in_flight() as usize, waiting);
    }

    /// The device completes everything, and the driver has it all back.
    fn finish(mut self) {
        self.reference.drive(&mut self.rig.driver, Driver::Publish);
        while !self.reference.available.is_empty() {
            self.wake(vec![Step::Pop; self.reference.size.into()]);
        }
        let count = self.held.len();
        self.wake(vec![Step::Push(0, 7); count]);
        while !self.reference.used.is_empty() {
            let before = self.reference.used.len();
            self.reference.drive(&mut self.rig.driver, Driver::Collect);
            assert!(self.reference.used.len() < before, "all is published");
        }
        assert_eq!(self.rig.driver.in_flight(), 0);
        assert_eq!(self.rig.driver.free(), self.reference.size);
        let position = self.rig.ring.position();
        assert_eq!(position.avail, position.used);
        assert_eq!(u32::from(position.used), self.reference.spot);
    }
}

impl Reference {
    fn drive(&mut self, driver: &mut testkit::DriverQueue<testkit::Space>, step: Driver) {
        match step {
            Driver::Add(lengths, indirect) => {
                driver.set_indirect(indirect);
                let segments = lay_out(&lengths);
                let indirect = indirect && self.features.contains(Features::INDIRECT_DESC);
                let descriptors = if indirect { 1 } else { segments.len() as u16 };
                // A chain may not have more descriptors than the queue, wherever they are.
                if segments.len() > self.size.into() {
                    return;
                }
                if let Some(id) = driver.add(&segments) {
                    self.added.push(Expected {
                        id,
                        segments,
                        descriptors,
                    });
                }
            }
            Driver::Publish => {
                driver.publish();
                self.available.extend(self.added.drain(..));
            }
            Driver::Collect => {
                if let Some(used) = driver.collect() {
                    assert_eq!(Some((used.id, used.len)), self.used.pop_front());
                }
            }
            Driver::Interrupts(on) => {
                driver.set_interrupts(on);
            }
            Driver::Event(at) => {
                driver.set_interrupts(false);
                match driver.ring_mut() {
                    DriverRing::Split(ring) => ring.set_used_event(at & 0x7fff),
                    DriverRing::Packed(ring) => {
                        let spot = ((at & 0x7fff) % self.size) | (at & 0x8000);
                        ring.set_driver_event(spot, 2);
                    }
                }
            }
        }
    }

    fn push(&mut self, id: u16, written: u32) {
        let at = self
            .taken
            .iter()
            .position(|(chain, pushed)| chain.id == id && pushed.is_none());
        self.taken[at.unwrap()].1 = Some(written);
        if !self.features.contains(Features::IN_ORDER) {
            let (chain, _) = self.taken.remove(at.unwrap()).unwrap();
            return self.use_chain(&chain, written);
        }
        while let Some((chain, Some(written))) = self.taken.front().cloned() {
            self.taken.pop_front();
            self.use_chain(&chain, written);
        }
    }

    fn use_chain(&mut self, chain: &Expected, written: u32) {
        let writable = chain.segments.iter().filter(|segment| segment.writable);
        let room = writable.map(|segment| segment.len).sum();
        self.used.push_back((chain.id, written.min(room)));
        let packed = self.features.contains(Features::RING_PACKED);
        for _ in 0..if packed { chain.descriptors } else { 1 } {
            self.spots.push(self.spot);
            self.spot = self.next_spot(packed);
        }
    }

    fn next_spot(&self, packed: bool) -> u32 {
        let next = self.spot + 1;
        match packed {
            true if next & 0x7fff == u32::from(self.size) => !self.spot & 1 << 15,
            true => next,
            false => next & 0xffff,
        }
    }

    /// Asks of every spot used since it last asked whether it is the one the driver waits for.
    fn wants_interrupt(&mut self, driver: &testkit::DriverQueue<testkit::Space>) -> u32 {
        let spots = &self.spots[self.considered..];
        self.considered = self.spots.len();
        let (ram, at) = (driver.ram(), driver.config().driver);
        let half = |at| u32::from(u16::from_le(ram.load(at)));
        let event_idx = self.features.contains(Features::EVENT_IDX);
        let packed = self.features.contains(Features::RING_PACKED);
        let wanted = match (packed, event_idx) {
            (false, false) => half(at) & 1 == 0 && !spots.is_empty(),
            (false, true) => spots.contains(&half(at + 4 + 2 * u64::from(self.size))),
            (true, _) => match half(at + 2) {
                0 => !spots.is_empty(),
                2 if event_idx => spots.contains(&half(at)),
                // Without EVENT_IDX there is no such value.
                2 => !spots.is_empty(),
                _ => false,
            },
        };
        wanted.into()
    }
}

/// Readable segments first, one after another in memory.
fn lay_out(lengths: &[(u32, bool)]) -> Vec<Segment> {
    let mut sorted = lengths.to_vec();
    sorted.sort_by_key(|&(_, writable)| writable);
    let mut address = 0x100;
    let mut segments = Vec::new();
    for (len, writable) in sorted {
        segments.push(Segment {
            address,
            len,
            writable,
        });
        address += u64::from(len);
    }
    segments
}

fn check(chain: &Chain, expected: &Expected) {
    let buffers = |writable| -> Vec<Buffer> {
        let some = expected.segments.iter().filter(|s| s.writable == writable);
        some.map(|s| Buffer {
            address: s.address,
            len: s.len,
        })
        .collect()
    };
    assert_eq!(chain.readable(), buffers(false));
    assert_eq!(chain.writable(), buffers(true));
    let len = |buffers: Vec<Buffer>| buffers.iter().map(|b| b.len).sum::<u32>();
    assert_eq!(chain.readable_len(), len(buffers(false)));
    assert_eq!(chain.writable_len(), len(buffers(true)));
    assert!(chain.is_live());
}
