//! A machine with one device on channel I/O, and the driver's way to it.

#![allow(dead_code, reason = "not every test needs all of it")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use testkit::channel::{Channel, Interruptions, Refused, Status as Ending};
use testkit::{BOUNDARY, DriverQueue, Heap, PATIENCE, Ram, Segment, Space, memory};
use virtio_bus::{InlineRunner, IoEventFds, Runner, Status, VirtioProps};
use virtio_ccw::css::ChannelSubsystem;
use virtio_ccw::{CcwParts, CcwProps, CcwTransport};
use virtio_device::{Features, RingConfig, VirtioDevice};

pub(crate) use testkit::channel::command::*;
#[allow(unused_imports, reason = "not every test needs both")]
pub(crate) use testkit::{Knobs, Toy};

/// Command reject, in the first sense byte.
pub(crate) const REJECT: u8 = 0x80;

/// One device on a machine of its own. Its subchannel is enabled.
pub(crate) struct Machine {
    pub(crate) css: ChannelSubsystem,
    pub(crate) host: Arc<Interruptions>,
    pub(crate) transport: Arc<CcwTransport<Space>>,
    pub(crate) channel: Channel<Space>,
    pub(crate) heap: Heap,
    space: Space,
    inline: InlineRunner<Space>,
    queues: BTreeMap<u16, DriverQueue<Space>>,
}

/// How a [`Machine`] is set up.
pub(crate) struct Options {
    pub(crate) props: CcwProps,
    pub(crate) features: Features,
    /// By hand if `None`.
    pub(crate) runner: Option<Arc<dyn Runner<Space>>>,
    pub(crate) ioeventfds: Option<Arc<dyn IoEventFds>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            props: CcwProps::default(),
            features: VirtioProps::default().packed(true).features(),
            runner: None,
            ioeventfds: None,
        }
    }
}

impl Machine {
    pub(crate) fn new(device: impl VirtioDevice) -> Self {
        Self::with(device, Options::default())
    }

    pub(crate) fn with(device: impl VirtioDevice, options: Options) -> Self {
        Self::on(memory(), device, options)
    }

    /// On this memory, as it is.
    pub(crate) fn on(space: Space, device: impl VirtioDevice, options: Options) -> Self {
        let (host, inline) = (Arc::<Interruptions>::default(), InlineRunner::new());
        let css = ChannelSubsystem::new(space.clone(), host.clone());
        let by_hand: Arc<dyn Runner<Space>> = Arc::new(inline.clone());
        let parts = CcwParts {
            device: Box::new(device),
            runner: options.runner.unwrap_or(by_hand),
            memory: space.clone(),
            features: options.features,
            ioeventfds: options.ioeventfds,
        };
        let transport = CcwTransport::new(&css, &options.props, parts).expect("a device");
        let ram = Ram(space.clone());
        let channel = Channel::new(&css, transport.subchannel(), ram, PAGE);
        channel.enable();
        Self {
            css,
            host,
            transport,
            channel,
            heap: Heap::new(2 * PAGE, BOUNDARY),
            space,
            inline,
            queues: BTreeMap::new(),
        }
    }

    /// A new machine with this one's memory and driver: where a saved state is restored. Its
    /// subchannel is enabled.
    pub(crate) fn successor(self, device: impl VirtioDevice) -> Self {
        self.transport.detach();
        let Self {
            space,
            heap,
            queues,
            ..
        } = self;
        Self {
            heap,
            queues,
            ..Self::on(space, device, Options::default())
        }
    }

    /// One more device on this machine.
    pub(crate) fn another(
        &self,
        device: impl VirtioDevice,
        props: &CcwProps,
    ) -> Result<Arc<CcwTransport<Space>>, virtio_ccw::Error> {
        let parts = CcwParts {
            device: Box::new(device),
            runner: Arc::new(self.inline.clone()),
            memory: self.space(),
            features: Options::default().features,
            ioeventfds: None,
        };
        CcwTransport::new(&self.css, props, parts)
    }

    /// A driver that takes over: what an earlier one has set up is gone.
    pub(crate) fn boot_again(&mut self) {
        self.channel.disable();
        self.channel.enable();
        self.queues.clear();
        self.boot(2, Features::VERSION_1);
        assert_eq!(self.status(), SETTLED | Status::DRIVER_OK);
    }

    pub(crate) fn space(&self) -> Space {
        self.space.clone()
    }

    /// A command that is to succeed.
    pub(crate) fn command<const N: usize>(&self, command: u8, mut data: [u8; N]) -> [u8; N] {
        let done = self.channel.try_command(command, &mut data);
        done.unwrap_or_else(|refused| panic!("{command:02x} {data:02x?}: {refused:02x?}"));
        data
    }

    /// A command that is to be answered with unit check, command reject.
    pub(crate) fn rejects<const N: usize>(&self, command: u8, mut data: [u8; N]) -> bool {
        match self.channel.try_command(command, &mut data) {
            Ok(()) => false,
            Err(Refused { status, sense }) => {
                assert_eq!(
                    status.device,
                    Ending::END | Ending::UNIT_CHECK,
                    "{command:02x}"
                );
                sense == REJECT
            }
        }
    }

    pub(crate) fn select(&self, revision: u16) {
        let [a, b] = revision.to_be_bytes();
        self.command(SET_VIRTIO_REV, [a, b, 0, 0]);
    }

    pub(crate) fn status(&self) -> Status {
        let [status] = self.command(READ_STATUS, [0]);
        Status(status)
    }

    pub(crate) fn write_status(&self, status: Status) {
        self.command(WRITE_STATUS, [status.0]);
    }

    /// The features that the device shows to drivers of the revision selected.
    pub(crate) fn offered(&self) -> Features {
        let page = |features: Features, index| {
            let [a, b, c, d, _] = self.command(READ_FEAT, [0, 0, 0, 0, index]);
            features.with_page(index.into(), u32::from_le_bytes([a, b, c, d]))
        };
        (0..4).fold(Features::NONE, page)
    }

    pub(crate) fn write_features(&self, features: Features) {
        for index in 0..4 {
            let [a, b, c, d] = features.page(index.into()).to_le_bytes();
            self.command(WRITE_FEAT, [a, b, c, d, index]);
        }
    }

    pub(crate) fn queue_size(&self, queue: u16) -> u16 {
        let [a, b] = queue.to_be_bytes();
        let [_, _, c, d] = self.command(READ_VQ_CONF, [a, b, 0xff, 0xff]);
        u16::from_be_bytes([c, d])
    }

    /// Revision, reset, features, queues at full size; no indicators, not DRIVER_OK yet.
    pub(crate) fn prepare(&mut self, revision: u16, features: Features) {
        self.select(revision);
        self.command(VDEV_RESET, []);
        self.write_status(Status::ACKNOWLEDGE);
        self.write_status(Status::ACKNOWLEDGE | Status::DRIVER);
        self.write_features(features);
        self.write_status(SETTLED);
        let sizes = (0..).map(|queue| (queue, self.queue_size(queue)));
        let sizes: Vec<_> = sizes.take_while(|&(_, size)| size > 0).collect();
        for (queue, size) in sizes {
            let driver = DriverQueue::new(self.space.clone(), self.heap.clone(), size, features);
            self.command(SET_VQ, vq_info(queue, driver.config()));
            self.queues.insert(queue, driver);
        }
    }

    /// Up to DRIVER_OK, with classic indicators at [`INDICATORS`] and [`CONFIG_INDICATORS`].
    pub(crate) fn boot(&mut self, revision: u16, features: Features) {
        self.prepare(revision, features);
        self.command(SET_IND, INDICATORS.to_be_bytes());
        self.command(SET_CONF_IND, CONFIG_INDICATORS.to_be_bytes());
        self.driver_ok();
    }

    pub(crate) fn driver_ok(&self) {
        self.write_status(SETTLED | Status::DRIVER_OK);
        self.run();
    }

    pub(crate) fn run(&self) -> bool {
        self.inline.run()
    }

    /// Runs the device until `done`, but not for ever.
    pub(crate) fn run_until(&self, done: impl Fn() -> bool) {
        let start = Instant::now();
        while !done() && start.elapsed() < PATIENCE {
            if !self.run() {
                std::thread::sleep(Duration::from_micros(100));
            }
        }
    }

    pub(crate) fn queue(&mut self, queue: u16) -> &mut DriverQueue<Space> {
        self.queues.get_mut(&queue).expect("a queue")
    }

    /// Offers a chain and notifies.
    pub(crate) fn offer(&mut self, queue: u16, readable: &[u8], writable: u32) {
        let at = self.heap.alloc(readable.len() as u64, 1);
        self.channel.ram().write(at, readable);
        let segment = |address, len, writable| Segment {
            address,
            len,
            writable,
        };
        let read = (!readable.is_empty()).then(|| segment(at, readable.len() as u32, false));
        let write =
            (writable > 0).then(|| segment(self.heap.alloc(writable.into(), 1), writable, true));
        let chain: Vec<_> = read.into_iter().chain(write).collect();
        let driver = self.queue(queue);
        driver.add(&chain).expect("room");
        driver.publish();
        assert_eq!(self.channel.notify(queue.into(), 0), 0);
    }

    /// Offers a chain, runs the device, and takes the number of bytes written.
    pub(crate) fn request(&mut self, queue: u16, readable: &[u8], writable: u32) -> u32 {
        self.offer(queue, readable, writable);
        self.run();
        self.queue(queue).collect().expect("an answer").len
    }

    /// The classic indicators, taken as a driver takes them.
    pub(crate) fn take_word(&self, at: u64) -> u64 {
        let word = self.channel.ram().read(at, 8).try_into();
        self.channel.ram().write(at, &[0; 8]);
        u64::from_be_bytes(word.expect("eight bytes"))
    }
}

/// `struct vq_info_block`.
pub(crate) fn vq_info(queue: u16, config: &RingConfig) -> [u8; 32] {
    let mut info = [0; 32];
    info[..8].copy_from_slice(&config.descriptor.to_be_bytes());
    // Reserved: the device is to ignore it.
    info[8..12].copy_from_slice(&[0xa5; 4]);
    info[12..14].copy_from_slice(&queue.to_be_bytes());
    info[14..16].copy_from_slice(&config.size.get().to_be_bytes());
    info[16..24].copy_from_slice(&config.driver.to_be_bytes());
    info[24..].copy_from_slice(&config.device.to_be_bytes());
    info
}

/// `struct virtio_thinint_area`.
pub(crate) fn thinint(summary: u64, indicator: u64, bit: u64, isc: u8) -> [u8; 25] {
    let mut area = [isc; 25];
    for (to, from) in area.chunks_exact_mut(8).zip([summary, indicator, bit]) {
        to.copy_from_slice(&from.to_be_bytes());
    }
    area
}

pub(crate) const SETTLED: Status =
    Status(Status::ACKNOWLEDGE.0 | Status::DRIVER.0 | Status::FEATURES_OK.0);
pub(crate) const INDICATORS: u64 = 0x100;
pub(crate) const CONFIG_INDICATORS: u64 = 0x108;
pub(crate) const PAGE: u64 = 0x1000;
