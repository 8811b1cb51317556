//! A device on a bus in memory, with the driver's view of both.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use virtio_bus::{Core, InlineRunner, Parts, Runner, Status, VirtioProps};
use virtio_device::{ByteOrder, Features, RingArea, VirtioDevice};

use crate::patience::PATIENCE;
use crate::wires::{Interrupts, Wires};
use crate::{BOUNDARY, DriverQueue, Heap, Memory, Ram, Segment, Used, memory};

/// The address space of a [`TestBus`].
pub type Space = Arc<Memory>;

/// A device, its core, guest memory and a driver, all on the caller's thread.
pub struct TestBus {
    core: Core<Space>,
    memory: Space,
    heap: Heap,
    inline: Option<InlineRunner<Space>>,
    wires: Arc<Wires>,
    queues: BTreeMap<u16, DriverQueue<Space>>,
}

/// How a [`TestBus`] is set up.
pub struct Options {
    /// Device-independent features to offer.
    pub features: Features,
    /// The byte order of legacy drivers, if they are welcome.
    pub legacy: Option<ByteOrder>,
    /// Who runs the workers; by hand if `None`.
    pub runner: Option<Arc<dyn Runner<Space>>>,
}

/// A device's answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Bytes that the device says it wrote.
    pub len: u32,
    /// What the writable buffers hold, one after another, all of their length.
    pub bytes: Vec<u8>,
}

/// A request on its way: where its buffers are.
#[derive(Clone, Debug)]
pub struct Request {
    /// The chain's id, if the ring had room.
    pub id: u16,
    /// Its buffers.
    pub segments: Vec<Segment>,
}

impl Default for Options {
    /// Everything that a modern device can offer, run by hand.
    fn default() -> Self {
        Self {
            features: VirtioProps::default()
                .packed(true)
                .in_order(true)
                .features(),
            legacy: None,
            runner: None,
        }
    }
}

impl TestBus {
    /// `device` on a modern bus that offers everything and runs it by hand.
    pub fn new(device: impl VirtioDevice) -> Self {
        Self::with(device, Options::default())
    }

    /// The same with its workers on `runner`.
    ///
    /// # Panics
    /// As [`with`](Self::with).
    pub fn on(device: impl VirtioDevice, runner: Arc<dyn Runner<Space>>) -> Self {
        let options = Options {
            runner: Some(runner),
            ..Options::default()
        };
        Self::with(device, options)
    }

    /// `device` on a bus as `options` say.
    ///
    /// # Panics
    /// Where the device offers features that do not fit one another.
    pub fn with(device: impl VirtioDevice, options: Options) -> Self {
        Self::around(device, options, memory(), Heap::new(PAGE, BOUNDARY))
    }

    /// A new `device` on a bus like this one, with this one's memory and driver: where a saved
    /// state is restored.
    #[must_use]
    pub fn successor(self, device: impl VirtioDevice, options: Options) -> Self {
        let Self {
            core,
            memory,
            heap,
            queues,
            ..
        } = self;
        drop(core);
        Self {
            queues,
            ..Self::around(device, options, memory, heap)
        }
    }

    fn around(device: impl VirtioDevice, options: Options, memory: Space, heap: Heap) -> Self {
        let Options {
            features,
            legacy,
            runner,
        } = options;
        let wires = Arc::new(Wires {
            interrupts: Arc::default(),
            legacy,
            assigned: AtomicBool::new(false),
        });
        let inline = runner.is_none().then(InlineRunner::new);
        let by_hand = inline.clone().map(|inline| Arc::new(inline) as _);
        let core = Core::new(Parts {
            device: Box::new(device),
            runner: runner.or(by_hand).expect("one of both"),
            memory: memory.clone(),
            bus: wires.clone(),
            features,
        });
        Self {
            core: core.expect("a device that fits the bus"),
            memory,
            heap,
            inline,
            wires,
            queues: BTreeMap::new(),
        }
    }

    /// The core, for registers.
    pub fn core(&mut self) -> &mut Core<Space> {
        &mut self.core
    }

    /// Guest memory.
    pub fn memory(&self) -> &Space {
        &self.memory
    }

    /// Guest memory as the driver accesses it.
    pub fn ram(&self) -> Ram<Space> {
        Ram(self.memory.clone())
    }

    /// Guest memory's allocator, which keeps clear of the first page and the second region.
    pub fn heap(&self) -> &Heap {
        &self.heap
    }

    /// Interrupts so far.
    pub fn interrupts(&self) -> &Interrupts {
        &self.wires.interrupts
    }

    /// Whether the transport was told to send notifications to the kick descriptors.
    pub fn kicks_assigned(&self) -> bool {
        self.wires.assigned.load(Ordering::Acquire)
    }

    /// Status, driver features, FEATURES_OK. True if the device agrees.
    pub fn negotiate(&mut self, features: Features) -> bool {
        self.core.write_status(Status::ACKNOWLEDGE);
        self.core.write_status(Status::ACKNOWLEDGE | Status::DRIVER);
        for page in 0..4 {
            self.core.write_driver_features(page, features.page(page));
        }
        let status = Status::ACKNOWLEDGE | Status::DRIVER | Status::FEATURES_OK;
        self.core.write_status(status);
        self.core.status().contains(Status::FEATURES_OK)
    }

    /// Lays out queue `queue` with `size` descriptors for the features as written, and enables it.
    pub fn set_up_queue(&mut self, queue: u16, size: u16) {
        let features = self.core.driver_features();
        let order = match features.contains(Features::VERSION_1) {
            true => ByteOrder::Little,
            false => self.wires.legacy.unwrap_or_default(),
        };
        let (space, heap) = (self.memory.clone(), self.heap.clone());
        let driver = DriverQueue::with_order(space, heap, size, features, order);
        let config = *driver.config();
        self.core.set_queue_size(queue, size);
        for (which, address) in [
            (RingArea::Descriptor, config.descriptor),
            (RingArea::Driver, config.driver),
            (RingArea::Device, config.device),
        ] {
            self.core.set_queue_address(queue, which, address, u64::MAX);
        }
        self.core.enable_queue(queue);
        self.queues.insert(queue, driver);
    }

    /// Sets DRIVER_OK and lets the workers start.
    pub fn driver_ok(&mut self) {
        let status = self.core.status();
        self.core.write_status(status | Status::DRIVER_OK);
        self.run();
    }

    /// From reset to DRIVER_OK, with every queue at its full size.
    ///
    /// # Panics
    /// Where the device refuses the features or does not start.
    pub fn boot(&mut self, features: Features) {
        assert!(self.negotiate(features), "refused: {features:?}");
        for queue in 0..self.core.queue_count() {
            let max = self.core.queue(queue).expect("a queue").max_size.get();
            self.set_up_queue(queue, max);
        }
        self.driver_ok();
        assert!(!self.needs_reset(), "the device does not start");
    }

    /// The driver's side of queue `queue`.
    ///
    /// # Panics
    /// Where it was not set up.
    pub fn queue(&mut self, queue: u16) -> &mut DriverQueue<Space> {
        self.queues
            .get_mut(&queue)
            .expect("a queue that was set up")
    }

    /// Notifies queue `queue`, as the driver of that queue may.
    pub fn notify(&self, queue: u16) {
        self.core.kicks().notify(queue.into());
    }

    /// Lets the workers do what there is to do. Without effect where they run elsewhere.
    pub fn run(&self) -> bool {
        self.inline.as_ref().is_some_and(InlineRunner::run)
    }

    /// Runs the workers, or waits for them, until `done`. False if that takes longer than [`PATIENCE`].
    pub fn run_until(&mut self, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let start = Instant::now();
        loop {
            self.run();
            if done(self) {
                return true;
            }
            if start.elapsed() > PATIENCE {
                return false;
            }
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    /// Puts a request into queue `queue`, each slice of `readable` and each length of `writable` a
    /// buffer of its own, and notifies the device if it wants that.
    ///
    /// # Panics
    /// Where the ring is full.
    pub fn submit(&mut self, queue: u16, readable: &[&[u8]], writable: &[u32]) -> Request {
        let mut segments = Vec::new();
        for bytes in readable {
            let address = self.heap.alloc(bytes.len() as u64, 1);
            self.ram().write(address, bytes);
            let len = bytes.len() as u32;
            let writable = false;
            segments.push(Segment {
                address,
                len,
                writable,
            });
        }
        for &len in writable {
            let address = self.heap.alloc(len.into(), 1);
            let writable = true;
            segments.push(Segment {
                address,
                len,
                writable,
            });
        }
        let driver = self.queue(queue);
        let id = driver.add(&segments).expect("room in the ring");
        if driver.publish() {
            self.notify(queue);
        }
        Request { id, segments }
    }

    /// What a used request left in its writable buffers, which are then given up.
    pub fn response(&self, request: &Request, used: Used) -> Response {
        let ram = self.ram();
        let writable = request.segments.iter().filter(|segment| segment.writable);
        let bytes = writable
            .flat_map(|segment| ram.read(segment.address, segment.len as usize))
            .collect();
        for segment in &request.segments {
            self.heap.free(segment.address, segment.len.into());
        }
        let len = used.len;
        Response { len, bytes }
    }

    /// Submits a request, waits for it and takes its answer. Nothing else is in flight.
    ///
    /// # Panics
    /// Where no answer comes within five seconds.
    pub fn request(&mut self, queue: u16, readable: &[&[u8]], writable: &[u32]) -> Response {
        let request = self.submit(queue, readable, writable);
        let answered = self.run_until(|bus| bus.queue(queue).has_used());
        assert!(answered, "queue {queue} does not answer");
        let used = self.queue(queue).collect().expect("something used");
        assert_eq!(used.id, request.id, "the only request in flight");
        self.response(&request, used)
    }

    /// Resets the device and forgets the driver's queues.
    ///
    /// # Panics
    /// Where the reset is not complete within five seconds.
    pub fn reset(&mut self) {
        self.core.write_status(Status::RESET);
        let done = self.run_until(|bus| bus.core.status() == Status::RESET);
        assert!(done, "the reset does not end");
        self.queues.clear();
    }

    /// Resets queue `queue` alone (VIRTIO_F_RING_RESET) and forgets the driver's side of it.
    ///
    /// # Panics
    /// Where the reset is not complete within five seconds.
    pub fn reset_queue(&mut self, queue: u16) {
        self.core.reset_queue(queue);
        let done = self.run_until(|bus| {
            let regs = bus.core.queue(queue);
            regs.is_none_or(|regs| !regs.resetting)
        });
        assert!(done, "the reset of queue {queue} does not end");
        self.queues.remove(&queue);
    }

    /// Whether DEVICE_NEEDS_RESET is set.
    pub fn needs_reset(&mut self) -> bool {
        self.core.status().contains(Status::DEVICE_NEEDS_RESET)
    }

    /// `len` bytes of the configuration space from `offset` on.
    pub fn read_config(&self, offset: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.core.config().read(offset, &mut bytes);
        bytes
    }
}

const PAGE: u64 = 4096;
