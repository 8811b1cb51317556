//! Rings forged in guest memory, against [`Virtqueue`] itself.

use std::sync::Arc;

use arbitrary::{Arbitrary, Unstructured};
use testkit::{
    AVAIL, BOUNDARY, Interrupts, NEXT, Ram, RawDescriptor, Segment, Space, USED, describe, memory,
};
use virtio_device::{
    ByteOrder, Chain, Features, QueueSize, Ring, RingConfig, RingFormat, RingPosition, Virtqueue,
};

use crate::forge::{self, Buffer, Descriptor, Few, Place, segments, steps};
use crate::ring_model::{Model, Taken};

/// A split virtqueue (section 2.7).
pub fn split_ring(data: &[u8]) {
    run(data, RingFormat::Split);
}

/// A packed virtqueue (section 2.8).
pub fn packed_ring(data: &[u8]) {
    run(data, RingFormat::Packed);
}

fn run(data: &[u8], format: RingFormat) {
    let mut u = Unstructured::new(data);
    let Ok(setup) = u.arbitrary::<Setup>() else {
        return;
    };
    let Some(mut rig) = Rig::new(setup, format) else {
        return;
    };
    for step in steps::<Step>(&mut u) {
        rig.step(step);
    }
    rig.finish();
}

#[derive(Arbitrary, Debug)]
struct Setup {
    size: u16,
    small: bool,
    indirect: bool,
    event_idx: bool,
    in_order: bool,
    areas: Areas,
    position: Option<(u16, u16)>,
}

#[derive(Arbitrary, Debug)]
enum Areas {
    Apart,
    Overlapping(u8, u8, u8),
    Anywhere(Place, Place, Place),
}

#[derive(Arbitrary, Debug)]
enum Step {
    /// An honest chain, direct or indirect.
    Offer(Few<Buffer>, bool),
    /// A chain of any descriptors.
    Forge(Few<Descriptor>),
    /// An indirect table of any descriptors, and a descriptor that points there.
    ForgeTable(Few<Descriptor>, u8),
    Descriptor(u16, Descriptor),
    Head(u16),
    AvailIndex(i8),
    Scribble(Place, [u8; 8]),
    /// What the driver says of notifications.
    Suppress(u16, u16),
    /// One wake-up of the device.
    WakeUp(Few<Action>),
    /// The device goes on as after a restore.
    Again,
}

#[derive(Arbitrary, Debug)]
enum Action {
    Pop,
    /// Into a chain that was not pushed.
    PopOver(u8),
    Push(u8, u32),
    PushForeign(u8),
    Write(u8, u32, [u8; 16]),
    Read(u8, u32),
    Publish,
    Arm,
    Look,
}

/// A chain that the device has.
struct Held {
    chain: Chain,
    taken: Option<Taken>,
}

struct Rig {
    space: Space,
    ram: Ram<Space>,
    ring: Ring,
    /// Only where the areas are apart: a ring that overwrites itself cannot be followed.
    model: Option<Model>,
    held: Vec<Held>,
    /// Chains of an earlier life of the ring.
    foreign: Vec<Chain>,
    interrupts: Arc<Interrupts>,
    apart: bool,
    avail: u16,
    wrap: bool,
    table: u64,
}

impl Rig {
    fn new(setup: Setup, format: RingFormat) -> Option<Self> {
        let size = match (setup.small, format) {
            (true, RingFormat::Split) => 1 << (setup.size % 5),
            (true, RingFormat::Packed) => 1 + setup.size % 9,
            (false, RingFormat::Split) => 1 << (setup.size % 16),
            (false, RingFormat::Packed) => setup.size,
        };
        let [descriptor, driver, device] = match setup.areas {
            Areas::Apart => [DESCRIPTORS, DRIVER, DEVICE],
            Areas::Overlapping(a, b, c) => [a, b, c].map(|n| 16 * u64::from(n)),
            Areas::Anywhere(a, b, c) => [a, b, c].map(|place| place.address() & !15),
        };
        let features = Features::RING_PACKED.when(format == RingFormat::Packed)
            | Features::INDIRECT_DESC.when(setup.indirect)
            | Features::EVENT_IDX.when(setup.event_idx)
            | Features::IN_ORDER.when(setup.in_order);
        let config = RingConfig {
            size: QueueSize::new(size).ok()?,
            descriptor,
            driver,
            device,
            features,
            order: ByteOrder::Little,
        };
        let ring = match setup.position {
            None => Ring::new(config),
            Some((avail, used)) => Ring::at(config, RingPosition { avail, used }),
        };
        let (ring, space) = (ring.ok()?, memory());
        let position = ring.position().avail;
        let packed = format == RingFormat::Packed;
        let apart = matches!(setup.areas, Areas::Apart);
        Some(Self {
            ram: Ram(space.clone()),
            space,
            model: apart.then(|| Model::of(&ring)),
            apart,
            avail: if packed { position & !WRAP } else { position },
            wrap: position & WRAP != 0,
            ring,
            held: Vec::new(),
            foreign: Vec::new(),
            interrupts: Arc::default(),
            table: TABLES,
        })
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::WakeUp(actions) => self.wake_up(&actions.0),
            Step::Again => self.again(),
            Step::Suppress(offset, flags) => self.suppress(offset, flags),
            Step::Offer(buffers, indirect) => self.offer(&segments(&buffers), indirect),
            Step::Forge(chain) => self.forge(&raw(&chain)),
            Step::ForgeTable(table, odd) => {
                let (address, len) = self.write_table(&raw(&table));
                let descriptor = RawDescriptor {
                    address,
                    len: len + u32::from(odd & 1),
                    flags: testkit::INDIRECT | u16::from(odd >> 1) & 3,
                    next: 0,
                };
                self.forge(&[descriptor]);
            }
            Step::Descriptor(index, descriptor) => {
                let index = index % self.size();
                self.write_descriptor(index, descriptor.raw());
            }
            Step::Head(head) => self.push_head(head),
            Step::AvailIndex(by) => {
                self.avail = self.avail.wrapping_add_signed(by.into());
                self.publish_index();
            }
            Step::Scribble(place, bytes) => self.scribble(place.address(), &bytes),
        }
    }

    fn size(&self) -> u16 {
        self.ring.config().size.get()
    }

    fn packed(&self) -> bool {
        self.ring.config().format() == RingFormat::Packed
    }

    fn offer(&mut self, segments: &[Segment], indirect: bool) {
        let mut chain = describe(segments);
        if indirect
            && self
                .ring
                .config()
                .features
                .contains(Features::INDIRECT_DESC)
        {
            if self.packed() {
                chain
                    .iter_mut()
                    .for_each(|descriptor| descriptor.flags &= !NEXT);
            }
            let (address, len) = self.write_table(&chain);
            let flags = testkit::INDIRECT;
            chain = vec![RawDescriptor {
                address,
                len,
                flags,
                next: 0,
            }];
        }
        self.forge(&chain);
    }

    /// Makes a chain available at the driver's position, the first descriptor last.
    fn forge(&mut self, chain: &[RawDescriptor]) {
        let (size, start) = (self.size(), self.avail);
        if chain.is_empty() {
            return;
        }
        if !self.packed() {
            for (i, &descriptor) in (0..).zip(chain) {
                let next = (start.wrapping_add(descriptor.next)) % size;
                let index = start.wrapping_add(i) % size;
                self.write_descriptor(index, RawDescriptor { next, ..descriptor });
            }
            return self.push_head(start % size);
        }
        for (i, &descriptor) in chain.iter().enumerate() {
            let bits = if self.wrap { AVAIL } else { USED };
            let flags = descriptor.flags & !(AVAIL | USED) | bits;
            let next = start.wrapping_add(descriptor.next & 7);
            let next = if i + 1 == chain.len() { start } else { next };
            self.write_descriptor(
                self.avail % size,
                RawDescriptor {
                    flags,
                    next,
                    ..descriptor
                },
            );
            self.avail += 1;
            if self.avail >= size {
                (self.avail, self.wrap) = (0, !self.wrap);
            }
        }
    }

    fn push_head(&mut self, head: u16) {
        if !self.packed() {
            let slot = 2 * u64::from(self.avail % self.size());
            let at = self.ring.config().driver.wrapping_add(4 + slot);
            self.scribble(at, &head.to_le_bytes());
            self.avail = self.avail.wrapping_add(1);
            self.publish_index();
        }
    }

    fn publish_index(&mut self) {
        match self.packed() {
            true => self.avail %= self.size(),
            false => {
                let at = self.ring.config().driver.wrapping_add(2);
                self.scribble(at, &self.avail.to_le_bytes());
            }
        }
    }

    fn suppress(&mut self, offset: u16, flags: u16) {
        let config = *self.ring.config();
        let flags = if flags & 4 == 0 { flags & 3 } else { flags };
        let first = if self.packed() { offset } else { flags };
        self.scribble(config.driver, &first.to_le_bytes());
        let (at, second) = match self.packed() {
            true => (config.driver.wrapping_add(2), flags),
            false => (
                config.driver.wrapping_add(4 + 2 * u64::from(self.size())),
                offset,
            ),
        };
        self.scribble(at, &second.to_le_bytes());
    }

    fn write_descriptor(&self, index: u16, descriptor: RawDescriptor) {
        let at = self
            .ring
            .config()
            .descriptor
            .wrapping_add(16 * u64::from(index));
        self.scribble(at, &self.encode(descriptor));
    }

    fn write_table(&mut self, table: &[RawDescriptor]) -> (u64, u32) {
        let bytes: Vec<u8> = table
            .iter()
            .flat_map(|&descriptor| self.encode(descriptor))
            .collect();
        let at = self.table;
        self.table = TABLES + (at - TABLES + 128) % 0x1000;
        self.scribble(at, &bytes);
        (at, bytes.len() as u32)
    }

    fn encode(&self, descriptor: RawDescriptor) -> [u8; 16] {
        if self.packed() {
            descriptor.packed()
        } else {
            descriptor.split(ByteOrder::Little)
        }
    }

    fn scribble(&self, address: u64, bytes: &[u8]) {
        forge::scribble(&self.ram, address, bytes);
    }

    fn wake_up(&mut self, actions: &[Action]) {
        let Self {
            space,
            ram,
            ring,
            model,
            held,
            foreign,
            interrupts,
            ..
        } = self;
        let Ok(mut queue) = Virtqueue::attach(0, ring, &**space, &**interrupts) else {
            assert!(ring.broken().is_some());
            return;
        };
        let mut wake_up = WakeUp {
            ram,
            model: model.as_mut(),
            held,
            foreign,
            tampered: false,
            popped: 0,
        };
        for action in actions {
            wake_up.act(&mut queue, action);
        }
        let tampered = wake_up.tampered;
        drop(queue);
        self.check(tampered);
    }

    fn check(&mut self, tampered: bool) {
        let in_flight = self.ring.in_flight();
        if let Some(model) = &mut self.model {
            model.check(&self.ring, &self.ram, !tampered);
            assert_eq!(in_flight as usize, model.in_flight(), "chains in flight");
        }
        assert!(
            in_flight <= self.size().into(),
            "{in_flight} in a queue of {}",
            self.size()
        );
    }

    /// What is in flight is lost to the new ring, and the old chains mean nothing to it.
    fn again(&mut self) {
        let Ok(ring) = Ring::at(*self.ring.config(), self.ring.position()) else {
            panic!("a position of our own");
        };
        self.ring = ring;
        self.model = self.apart.then(|| Model::of(&self.ring));
        self.foreign
            .extend(self.held.drain(..).map(|held| held.chain));
        self.foreign.truncate(8);
    }

    /// Everything goes back.
    fn finish(&mut self) {
        let count = self.held.len();
        let actions: Vec<_> = (0..count).map(|_| Action::Push(0, u32::MAX)).collect();
        let broken = self.ring.broken();
        self.wake_up(&actions);
        if broken.is_none() && self.ring.broken().is_none() {
            assert_eq!(self.ring.in_flight(), 0, "everything was given back");
        }
    }
}

/// One wake-up of the device.
struct WakeUp<'a> {
    ram: &'a Ram<Space>,
    model: Option<&'a mut Model>,
    held: &'a mut Vec<Held>,
    foreign: &'a mut Vec<Chain>,
    tampered: bool,
    popped: u32,
}

type Queue<'a> = Virtqueue<'a, testkit::Memory>;

impl WakeUp<'_> {
    fn act(&mut self, queue: &mut Queue<'_>, action: &Action) {
        match *action {
            Action::Pop => self.pop(queue, Chain::new()),
            Action::PopOver(which) => {
                if let Some(Held { chain, taken }) = self.choose(which) {
                    self.used(taken, 0);
                    self.pop(queue, chain);
                }
            }
            Action::Push(which, written) => {
                if let Some(held) = self.choose(which) {
                    self.push(queue, held, written);
                }
            }
            Action::PushForeign(which) => {
                let index = usize::from(which).checked_rem(self.foreign.len());
                if let Some(index) = index {
                    queue.push(&mut self.foreign[index], 7);
                }
            }
            Action::Write(which, offset, bytes) => self.write(queue, which, offset, &bytes),
            Action::Read(which, offset) => self.read(queue, which, offset),
            Action::Publish => queue.publish(),
            Action::Arm => drop(queue.arm()),
            Action::Look => drop(queue.has_available()),
        }
    }

    fn choose(&mut self, which: u8) -> Option<Held> {
        let index = usize::from(which).checked_rem(self.held.len())?;
        Some(self.held.remove(index))
    }

    fn pop(&mut self, queue: &mut Queue<'_>, mut chain: Chain) {
        let model = self.model.as_ref();
        let taken = model.map(|model| model.next(queue.ring(), self.ram));
        let before = queue.ring().broken();
        match queue.pop(&mut chain) {
            Ok(true) => {
                let size = queue.ring().config().size.get();
                check_chain(&chain, size.into());
                self.popped += 1;
                assert!(self.popped <= size.into(), "more than a wake-up's share");
                if let (Some(model), Some(taken)) = (&mut self.model, taken) {
                    model.take(taken);
                }
                self.held.push(Held { chain, taken });
            }
            Ok(false) => assert!(!chain.is_live() && chain.buffers().is_empty()),
            Err(error) => {
                assert!(!chain.is_live());
                assert_eq!(queue.ring().broken(), Some(error));
                assert!(before.is_none_or(|before| before == error), "another error");
            }
        }
    }

    fn push(&mut self, queue: &mut Queue<'_>, held: Held, written: u32) {
        let Held { mut chain, taken } = held;
        let writable = chain.writable_len();
        queue.push(&mut chain, written);
        assert!(!chain.is_live(), "pushed once");
        // The second time, it must do nothing.
        queue.push(&mut chain, written);
        self.used(taken, written.min(writable));
    }

    fn used(&mut self, taken: Option<Taken>, len: u32) {
        if let (Some(model), Some(taken)) = (&mut self.model, taken) {
            model.push(taken, len);
        }
    }

    fn write(&mut self, queue: &mut Queue<'_>, which: u8, offset: u32, bytes: &[u8]) {
        let index = usize::from(which).checked_rem(self.held.len());
        if let Some(held) = index.and_then(|index| self.held.get(index)) {
            self.tampered = true;
            let offset = offset
                .checked_rem(held.chain.writable_len())
                .unwrap_or(offset);
            let _ = held.chain.write_at(queue.view(), offset, bytes);
        }
    }

    fn read(&mut self, queue: &mut Queue<'_>, which: u8, offset: u32) {
        let index = usize::from(which).checked_rem(self.held.len());
        if let Some(held) = index.and_then(|index| self.held.get(index)) {
            let offset = offset
                .checked_rem(held.chain.readable_len())
                .unwrap_or(offset);
            let mut bytes = [0xa5; 16];
            if held
                .chain
                .read_at(queue.view(), offset, &mut bytes)
                .is_err()
            {
                assert_eq!(bytes, [0xa5; 16], "all or nothing");
            }
        }
    }
}

fn check_chain(chain: &Chain, size: usize) {
    assert!(chain.is_live());
    assert!(
        chain.buffers().len() <= size,
        "{} buffers",
        chain.buffers().len()
    );
    let sum = |buffers: &[virtio_device::Buffer]| -> u64 {
        let ends = buffers.iter().map(|b| b.address.checked_add(b.len.into()));
        assert!(
            ends.into_iter().all(|end| end.is_some()),
            "a buffer wraps around"
        );
        buffers.iter().map(|buffer| u64::from(buffer.len)).sum()
    };
    let reach = |buffers| sum(buffers).min(u32::MAX.into());
    assert_eq!(reach(chain.readable()), u64::from(chain.readable_len()));
    assert_eq!(reach(chain.writable()), u64::from(chain.writable_len()));
}

fn raw(descriptors: &Few<Descriptor>) -> Vec<RawDescriptor> {
    descriptors
        .0
        .iter()
        .map(|descriptor| descriptor.raw())
        .collect()
}

const DESCRIPTORS: u64 = 0x10_0000;
const DRIVER: u64 = 0x20_0000;
const DEVICE: u64 = 0x30_0000;
const TABLES: u64 = BOUNDARY - 0x800;
const WRAP: u16 = 1 << 15;
