//! A whole device on a bus in memory, and a guest that does anything to it.

use arbitrary::{Arbitrary, Unstructured};
use testkit::{
    BOUNDARY, DriverRing, Malformed, NEXT, Options, RawDescriptor, Segment, Space, TestBus, WRITE,
};
use virtio_bus::{Core, Status};
use virtio_device::{ByteOrder, Features, RingArea, VirtioDevice};

use crate::forge::{self, Buffer, Descriptor, Few, Place, segments, steps};

/// What a target brings along.
pub(crate) trait Subject {
    type Device: VirtioDevice;

    /// Everything that the device can be asked to do, as the readable start of a request.
    type Words: for<'a> Arbitrary<'a>;

    /// What its back-end can be made to do.
    type Host: for<'a> Arbitrary<'a>;

    /// A new device. Called once per input, before anything else.
    fn device(&mut self) -> Self::Device;

    fn words(&self, words: Self::Words) -> Vec<u8>;

    fn host(&mut self, event: Self::Host);

    /// Lets go of what the back-end holds back.
    fn release(&mut self) {}

    /// As [`release`](Self::release), and nothing fails any more.
    fn repair(&mut self) {
        self.release();
    }

    /// A plain request to a device that has just been started, which must be served.
    fn probe(&mut self, bus: &mut TestBus);
}

/// Plays the guest that `u` describes, and then the one that comes after a reset.
pub(crate) fn play<S: Subject>(mut subject: S, u: &mut Unstructured<'_>) {
    let legacy = u.arbitrary().unwrap_or(false).then_some(ByteOrder::Little);
    let options = Options {
        legacy,
        ..Options::default()
    };
    let bus = TestBus::with(subject.device(), options);
    let mut guest = Guest {
        bus,
        there: Vec::new(),
        honest: Vec::new(),
        scratch: 0,
    };
    for step in steps::<Step<S::Words, S::Host>>(u) {
        guest.step(&mut subject, step);
    }
    subject.release();
    guest.settle();
    guest.bus.reset();
    let features = usable(&mut guest.bus);
    guest.bus.boot(features);
    subject.probe(&mut guest.bus);
    assert!(!guest.bus.needs_reset());
}

/// Everything on offer that a driver need not understand to use the device.
pub(crate) fn usable(bus: &mut TestBus) -> Features {
    let offered = bus.core().offered();
    offered - Features::RING_PACKED - Features::IN_ORDER - Features::NOTIFY_ON_EMPTY
}

#[derive(Arbitrary, Debug)]
enum Step<W, H> {
    /// From reset to DRIVER_OK, by the book.
    Boot(u64),
    Request(u8, W, Few<Buffer>),
    Chain(u8, Few<Buffer>),
    Forge(u8, Few<Descriptor>),
    ForgeTable(u8, Few<Descriptor>),
    Malformed(u8, u8),
    AvailIndex(u8, i8),
    Descriptor(u8, u16, Descriptor),
    Scribble(Place, [u8; 8]),
    Interrupts(u8, bool),
    Notify(u16),
    Run,
    Collect,
    Config(Offset, Few<u8>),
    Status(u8),
    Features(u8, u32),
    QueueSize(u8, u16),
    QueueAddress(u8, u8, Place, bool),
    LegacyQueue(u8, Place, u16),
    EnableQueue(u16),
    ResetQueue(u16),
    DisableQueue(u16),
    SetUpQueue(u8, u8),
    Pause,
    Resume,
    Host(H),
}

impl<W, H> Step<W, H> {
    /// Whether the device may wait for its back-end, which must then let go.
    fn waits(&self) -> bool {
        matches!(
            self,
            Self::Boot(_)
                | Self::Status(0)
                | Self::EnableQueue(_)
                | Self::ResetQueue(_)
                | Self::DisableQueue(_)
                | Self::SetUpQueue(..)
                | Self::Pause
        )
    }
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) enum Offset {
    Inside(u8),
    Anywhere(u64),
}

impl Offset {
    pub(crate) fn bytes(self) -> u64 {
        match self {
            Self::Inside(offset) => u64::from(offset) & 0x7f,
            Self::Anywhere(offset) => offset,
        }
    }
}

struct Guest {
    bus: TestBus,
    /// Queues that a ring was ever laid out for.
    there: Vec<u16>,
    /// Queues that were set up and used by the book: what the device does with them is checked.
    honest: Vec<u16>,
    /// Where in the second region the next words go.
    scratch: u64,
}

impl Guest {
    fn step<S: Subject>(&mut self, subject: &mut S, step: Step<S::Words, S::Host>) {
        match step {
            Step::Request(queue, words, buffers) => {
                let words = self.place(&subject.words(words));
                let chain: Vec<_> = [words].into_iter().chain(segments(&buffers)).collect();
                self.offer(queue, &chain);
            }
            Step::Chain(queue, buffers) => self.offer(queue, &segments(&buffers)),
            Step::Host(event) => subject.host(event),
            step => {
                if step.waits() {
                    subject.release();
                }
                self.misbehave(step);
            }
        }
    }

    /// What needs no help from the subject, most of it wrong at one time or another.
    fn misbehave<W, H>(&mut self, step: Step<W, H>) {
        match step {
            Step::Forge(queue, chain) => self.forge(queue, &chain),
            Step::ForgeTable(queue, table) => self.forge_table(queue, &table),
            Step::Malformed(queue, which) => self.malform(queue, which),
            Step::AvailIndex(queue, by) => self.move_index(queue, by),
            Step::Descriptor(queue, index, descriptor) => {
                self.overwrite(queue, index, descriptor.raw());
            }
            Step::Scribble(place, bytes) => self.scribble(place.address(), &bytes),
            Step::Interrupts(queue, on) => {
                if let Some(queue) = self.set_up(queue) {
                    self.bus.queue(queue).set_interrupts(on);
                }
            }
            Step::Notify(queue) => self.bus.notify(queue),
            Step::Run => self.settle(),
            Step::Collect => self.collect(),
            Step::Config(offset, bytes) => self.config(offset.bytes(), &bytes.0),
            Step::Boot(features) => self.boot(features),
            Step::Pause => self.bus.core().pause(),
            Step::Resume => self.bus.core().resume(),
            step => self.register(step),
        }
    }

    fn register<W, H>(&mut self, step: Step<W, H>) {
        match step {
            Step::Status(0) => {
                self.bus.core().write_status(Status::RESET);
                self.honest.clear();
            }
            Step::Status(status) => self.bus.core().write_status(Status(status)),
            Step::Features(page, bits) => {
                self.bus
                    .core()
                    .write_driver_features((page & 7).into(), bits);
            }
            Step::QueueSize(queue, size) => {
                self.write_queue(queue.into(), |core| core.set_queue_size(queue.into(), size));
            }
            Step::QueueAddress(queue, which, place, half) => {
                let which = match which % 3 {
                    0 => RingArea::Descriptor,
                    1 => RingArea::Driver,
                    _ => RingArea::Device,
                };
                let mask = if half { 0xffff_ffff } else { u64::MAX };
                self.write_queue(queue.into(), |core| {
                    core.set_queue_address(queue.into(), which, place.address(), mask);
                });
            }
            Step::LegacyQueue(queue, place, align) => {
                self.honest.retain(|&honest| honest != u16::from(queue));
                let core = self.bus.core();
                core.set_legacy_queue(queue.into(), place.address(), align.into());
            }
            Step::EnableQueue(queue) => self.write_queue(queue, |core| core.enable_queue(queue)),
            Step::ResetQueue(queue) => {
                self.honest.retain(|&honest| honest != queue);
                self.bus.core().reset_queue(queue);
            }
            Step::DisableQueue(queue) => {
                self.honest.retain(|&honest| honest != queue);
                self.bus.core().disable_queue(queue);
            }
            Step::SetUpQueue(queue, order) => self.set_up_again(queue, order),
            _ => {}
        }
    }

    fn boot(&mut self, features: u64) {
        self.bus.reset();
        self.honest.clear();
        self.there.clear();
        let offered = self.bus.core().offered();
        let features = offered & Features::from_bits(features.into()) | Features::VERSION_1;
        if !self.bus.negotiate(features) {
            return;
        }
        for queue in 0..self.bus.core().queue_count() {
            let max = self
                .bus
                .core()
                .queue(queue)
                .map_or(1, |regs| regs.max_size.get());
            self.bus.set_up_queue(queue, max);
            self.honest.push(queue);
            self.there.push(queue);
        }
        self.bus.driver_ok();
        assert!(!self.bus.needs_reset(), "a device that does not start");
    }

    /// Only where the core would have it so, and the driver has let go.
    fn set_up_again(&mut self, queue: u8, order: u8) {
        let queue = u16::from(queue);
        let settled = self.bus.core().status().contains(Status::FEATURES_OK);
        let late = self.bus.core().status().contains(Status::DRIVER_OK);
        let Some(regs) = self.bus.core().queue(queue) else {
            return;
        };
        let (enabled, max) = (regs.enabled || regs.resetting, regs.max_size.get());
        if settled && !enabled {
            self.bus.set_up_queue(queue, (max >> (order & 7)).max(1));
            self.honest.retain(|&honest| honest != queue);
            self.there.push(queue);
            if !late {
                self.honest.push(queue);
            }
        }
    }

    /// Writes registers of a queue, which are fixed once it is enabled, and all of them once the
    /// device runs, unless queues are reset one by one.
    fn write_queue(&mut self, queue: u16, write: impl FnOnce(&mut Core<Space>)) {
        let core = self.bus.core();
        let one_by_one = core.driver_features().contains(Features::RING_RESET);
        let fixed = core.status().contains(Status::DRIVER_OK) && !one_by_one;
        let before = core.queue(queue).cloned();
        write(core);
        let after = core.queue(queue).cloned();
        if before.as_ref().is_some_and(|regs| fixed || regs.enabled) {
            assert_eq!(after, before, "registers of queue {queue}");
        } else {
            // It is not the queue that was set up.
            self.honest.retain(|&honest| honest != queue);
        }
    }

    /// The queue meant, if a ring was ever laid out for it.
    fn set_up(&mut self, queue: u8) -> Option<u16> {
        let queue = u16::from(queue) % self.bus.core().queue_count().max(1);
        self.there.contains(&queue).then_some(queue)
    }

    fn dishonest(&mut self, queue: u8) -> Option<u16> {
        let queue = self.set_up(queue)?;
        self.honest.retain(|&honest| honest != queue);
        Some(queue)
    }

    /// Puts bytes where a device can read them, over what was there long ago.
    fn place(&mut self, bytes: &[u8]) -> Segment {
        let address = BOUNDARY + 0x20_0000 + self.scratch;
        self.scratch = (self.scratch + 64) % 0x1_0000;
        self.bus.ram().write(address, bytes);
        let len = bytes.len() as u32;
        Segment {
            address,
            len,
            writable: false,
        }
    }

    fn offer(&mut self, queue: u8, chain: &[Segment]) {
        if let Some(queue) = self.set_up(queue) {
            // The device may write over rings then.
            let low = |segment: &Segment| segment.writable && segment.address < BOUNDARY;
            if chain.iter().any(low) {
                self.honest.clear();
            }
            let driver = self.bus.queue(queue);
            // The model has no indirect table that is longer than the queue.
            let long = chain.len() > usize::from(driver.config().size.get());
            if !chain.is_empty() && !long && driver.add(chain).is_some() {
                driver.publish();
            }
        }
    }

    fn forge(&mut self, queue: u8, chain: &Few<Descriptor>) {
        if let Some(queue) = self.dishonest(queue) {
            let chain: Vec<_> = chain.0.iter().map(|descriptor| descriptor.raw()).collect();
            let chain = within(&chain, self.size(queue));
            self.bus.queue(queue).forge(&chain);
        }
    }

    fn forge_table(&mut self, queue: u8, table: &Few<Descriptor>) {
        if let Some(queue) = self.dishonest(queue) {
            let table: Vec<_> = table.0.iter().map(|descriptor| descriptor.raw()).collect();
            let (address, len) = self.bus.queue(queue).write_table(&table);
            let (len, flags) = (len as u32, testkit::INDIRECT);
            self.bus.queue(queue).forge(&[RawDescriptor {
                address,
                len,
                flags,
                next: 0,
            }]);
        }
    }

    fn malform(&mut self, queue: u8, which: u8) {
        if let Some(queue) = self.dishonest(queue) {
            let which = Malformed::ALL[usize::from(which) % Malformed::ALL.len()];
            if which.applies(self.bus.queue(queue).config()) {
                which.forge(self.bus.queue(queue));
            }
        }
    }

    fn size(&mut self, queue: u16) -> usize {
        self.bus.queue(queue).config().size.get().into()
    }

    fn move_index(&mut self, queue: u8, by: i8) {
        if let Some(queue) = self.dishonest(queue)
            && let DriverRing::Split(ring) = self.bus.queue(queue).ring_mut()
        {
            let index = ring.avail_idx().wrapping_add_signed(by.into());
            ring.set_avail_idx(index);
        }
    }

    fn overwrite(&mut self, queue: u8, index: u16, descriptor: RawDescriptor) {
        if let Some(queue) = self.dishonest(queue) {
            let index = index % self.bus.queue(queue).config().size.get();
            match self.bus.queue(queue).ring_mut() {
                DriverRing::Split(ring) => ring.write_descriptor(index, descriptor),
                DriverRing::Packed(ring) => ring.write_descriptor(index, descriptor),
            }
        }
    }

    fn scribble(&mut self, address: u64, bytes: &[u8]) {
        if address < BOUNDARY {
            self.honest.clear();
        }
        forge::scribble(&self.bus.ram(), address, bytes);
    }

    fn config(&mut self, offset: u64, bytes: &[u8]) {
        self.bus.core().write_config(offset, bytes);
        let _ = self.bus.read_config(offset, bytes.len());
    }

    /// A guest that does nothing more leaves a device with nothing to do.
    fn settle(&mut self) {
        let busy = (0..PATIENCE).all(|_| self.bus.run());
        assert!(!busy, "the device does not come to rest");
    }

    /// The driver model checks what it collects.
    fn collect(&mut self) {
        for queue in self.honest.clone() {
            while self.bus.queue(queue).collect().is_some() {}
        }
    }
}

/// As much as a ring has room for.
fn within(chain: &[RawDescriptor], size: usize) -> Vec<RawDescriptor> {
    let known = NEXT | WRITE | testkit::INDIRECT;
    let chain = chain.iter().take(size);
    let clean = chain.map(|&descriptor| RawDescriptor {
        flags: descriptor.flags & known,
        ..descriptor
    });
    clean.collect()
}

const PATIENCE: usize = 16;
