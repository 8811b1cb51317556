//! Devices behind channel programs.

use std::sync::Arc;

use arbitrary::{Arbitrary, Unstructured};
use testkit::channel::command::*;
use testkit::channel::{Ccw, Channel, Interruptions};
use testkit::{BOUNDARY, DriverQueue, Space};
use virtio_ccw::css::ChannelSubsystem;
use virtio_ccw::{CcwParts, CcwProps, CcwTransport};
use virtio_device::{ByteOrder, DynDevice, Features, RingConfig};

use crate::blk::{Disk, Look};
use crate::device::Subject;
use crate::forge::{Buffer, Few, Place, scribble, segments, steps};
use crate::front::{BLK, Front, Ground, RNG, Request, SERIAL, offer};
use crate::rng::Fickle;
use crate::serial::Ends;

/// A device on channel I/O, whose guest is a driver of any revision one moment and starts any
/// program the next.
pub fn ccw(data: &[u8]) {
    let mut u = Unstructured::new(data);
    match u.arbitrary() {
        Ok(What::Blk) => play(Disk::new(Look::default()), BLK, &mut u),
        Ok(What::Rng) => play(Fickle::default(), RNG, &mut u),
        Ok(What::Serial) => play(Ends::new(true), SERIAL, &mut u),
        Err(_) => {}
    }
}

#[derive(Arbitrary, Debug)]
enum What {
    Blk,
    Rng,
    Serial,
}

#[derive(Arbitrary, Debug)]
enum Step<W, H> {
    Boot(u64),
    /// As a driver of revision 0.
    BootLegacy(u32),
    Request(u8, W, Few<Buffer>),
    Offer(u8, Few<Buffer>),
    Notify(u8, u8),
    /// Code, flags and data of each word.
    Program(Few<(u8, u8, Few<u8>)>),
    Config(Few<u8>),
    Indicators(Place),
    Adapter(Place, Place, u8, u8),
    Select(u8),
    Clear,
    Halt,
    Disable,
    Scribble(Place, [u8; 8]),
    Run,
    Pause,
    Resume,
    Reset,
    Host(H),
}

/// Plays the guest that `u` describes, and then the one that comes after a reset.
fn play<S: Subject>(mut subject: S, request: Request, u: &mut Unstructured<'_>) {
    let board = Board::new(Ground::new(), Box::new(subject.device()));
    let mut queues = Vec::new();
    for step in steps::<Step<S::Words, S::Host>>(u) {
        match step {
            Step::Host(event) => subject.host(event),
            Step::Request(queue, words, buffers) => {
                board.request(&mut queues, queue, &subject.words(words), &buffers);
            }
            Step::Offer(queue, buffers) => offer(&board, &mut queues, queue, &segments(&buffers)),
            Step::Run => board.ground.settle(),
            step => {
                // The device may wait for its back-end, which must then let go.
                subject.release();
                board.step(step, &mut queues);
            }
        }
    }
    subject.repair();
    board.mend(request);
}

/// A device, its subchannel, and a driver's memory of it.
pub(crate) struct Board {
    pub(crate) ground: Ground,
    pub(crate) transport: Arc<CcwTransport<Space>>,
    channel: Channel<Space>,
    css: ChannelSubsystem,
}

impl Board {
    pub(crate) fn new(ground: Ground, device: Box<dyn DynDevice<Space>>) -> Self {
        let css = ChannelSubsystem::new(ground.space.clone(), Arc::new(Interruptions::default()));
        let parts = CcwParts {
            device,
            runner: ground.runner(),
            memory: ground.space.clone(),
            features: Ground::features(),
            ioeventfds: None,
        };
        let transport = CcwTransport::new(&css, &CcwProps::default(), parts).expect("a transport");
        let channel = Channel::new(&css, transport.subchannel(), ground.ram(), PAGE);
        channel.enable();
        Self {
            ground,
            transport,
            channel,
            css,
        }
    }

    fn step<W, H>(&self, step: Step<W, H>, queues: &mut Vec<DriverQueue<Space>>) {
        match step {
            Step::Boot(features) => {
                let features = Features::from_bits(features.into());
                *queues = self.ground.boot(self, features).unwrap_or_default();
            }
            Step::BootLegacy(features) => *queues = self.boot_legacy(features),
            Step::Notify(queue, cookie) => {
                let _ = self.channel.notify(queue.into(), cookie.into());
            }
            Step::Program(words) => self.program(&words),
            Step::Config(bytes) => {
                self.command(WRITE_CONF, &bytes.0);
                self.command(READ_CONF, &[0; 64]);
            }
            Step::Indicators(place) => {
                self.command(SET_IND, &place.address().to_be_bytes());
                self.command(SET_CONF_IND, &place.address().to_be_bytes());
            }
            Step::Adapter(summary, indicator, bit, isc) => {
                let words = [summary.address(), indicator.address(), bit.into()];
                let mut area = words.map(u64::to_be_bytes).concat();
                area.push(isc);
                self.command(SET_IND_ADAPTER, &area);
            }
            Step::Select(revision) => self.select(u16::from(revision) % 4),
            Step::Clear => {
                self.enable();
                self.channel.clear();
            }
            Step::Halt => {
                self.enable();
                // Nothing is halted while status is pending.
                let _ = self.channel.test();
                self.channel.halt();
            }
            step => self.control(&step),
        }
    }

    fn control<W, H>(&self, step: &Step<W, H>) {
        match *step {
            Step::Disable => self.disable(),
            Step::Scribble(place, bytes) => scribble(&self.ground.ram(), place.address(), &bytes),
            Step::Pause => self.transport.pause(),
            Step::Resume => self.transport.resume(),
            Step::Reset => {
                self.css.reset();
                self.transport.reset();
            }
            _ => {}
        }
    }

    fn request(
        &self,
        queues: &mut [DriverQueue<Space>],
        queue: u8,
        words: &[u8],
        buffers: &Few<Buffer>,
    ) {
        self.ground.ram().write(WORDS, words);
        let words = testkit::Segment {
            address: WORDS,
            len: words.len() as u32,
            writable: false,
        };
        let chain: Vec<_> = [words].into_iter().chain(segments(buffers)).collect();
        offer(self, queues, queue, &chain);
    }

    /// Whatever comes of it.
    fn program(&self, words: &Few<(u8, u8, Few<u8>)>) {
        let mut program = Vec::new();
        for (address, (code, flags, data)) in (self.channel.data()..).step_by(64).zip(&words.0) {
            self.ground.ram().write(address.into(), &data.0);
            program.push(Ccw {
                command: COMMANDS.get(usize::from(*code)).copied().unwrap_or(*code),
                flags: *flags,
                count: data.0.len() as u16,
                address,
            });
        }
        // Status from before is as good as any.
        let _ = self.channel.test();
        let _ = self.channel.start(&program);
        let _ = self.channel.test();
    }

    /// Whether it was accepted.
    fn command(&self, command: u8, data: &[u8]) -> bool {
        let mut data = data.to_vec();
        self.enable();
        self.channel.try_command(command, &mut data).is_ok()
    }

    /// The bytes that it gives; zeroes where it was not accepted.
    fn ask<const N: usize>(&self, command: u8, mut data: [u8; N]) -> [u8; N] {
        self.enable();
        let asked = self.channel.try_command(command, &mut data);
        if asked.is_ok() { data } else { [0; N] }
    }

    /// Programs are accepted, whatever was before.
    fn enable(&self) {
        let schib = self.channel.store().expect("a subchannel");
        if schib[5] & ENABLED == 0 {
            self.channel.enable();
        }
    }

    /// What was under way is cleared, or the subchannel could not be modified.
    fn disable(&self) {
        self.enable();
        self.channel.clear();
        self.channel.disable();
    }

    /// A driver that has never been here selects `revision`.
    fn select(&self, revision: u16) {
        self.disable();
        let [a, b] = revision.to_be_bytes();
        self.command(SET_VIRTIO_REV, &[a, b, 0, 0]);
    }

    fn boot_legacy(&self, features: u32) -> Vec<DriverQueue<Space>> {
        self.select(0);
        self.command(VDEV_RESET, &[]);
        self.command(WRITE_STATUS, &[3]);
        let [a, b, c, d, _] = self.ask(READ_FEAT, [0; 5]);
        let features = features & u32::from_le_bytes([a, b, c, d]);
        let [a, b, c, d] = features.to_le_bytes();
        self.command(WRITE_FEAT, &[a, b, c, d, 0]);
        let features = Features::from_bits(features.into());
        let queues = (0..).map_while(|queue| self.lay_out_legacy(queue, features));
        let queues = queues.collect();
        self.command(WRITE_STATUS, &[7]);
        self.ground.settle();
        queues
    }

    fn lay_out_legacy(&self, queue: u16, features: Features) -> Option<DriverQueue<Space>> {
        let size = Some(self.queue_size(queue)).filter(|&size| size > 0)?;
        let (space, heap) = (self.ground.space.clone(), self.ground.heap.clone());
        let driver = DriverQueue::in_one_area(space, heap, size, features, ByteOrder::Big);
        let mut info = driver.config().descriptor.to_be_bytes().to_vec();
        info.extend(4096_u32.to_be_bytes());
        info.extend(queue.to_be_bytes());
        info.extend(size.to_be_bytes());
        self.command(SET_VQ, &info);
        Some(driver)
    }

    /// Whatever was done to it, a reset mends it.
    pub(crate) fn mend(&self, request: Request) {
        self.css.reset();
        self.transport.reset();
        self.ground.settle();
        self.ground.probe(self, request);
    }
}

impl Front for Board {
    fn status(&self) -> u8 {
        let [status] = self.ask(READ_STATUS, [0]);
        status
    }

    fn set_status(&self, status: u8) {
        if status == 0 {
            self.select(2);
            self.command(VDEV_RESET, &[]);
        } else {
            self.command(WRITE_STATUS, &[status]);
        }
    }

    fn offered(&self, page: u32) -> u32 {
        let [a, b, c, d, _] = self.ask(READ_FEAT, [0, 0, 0, 0, page as u8]);
        u32::from_le_bytes([a, b, c, d])
    }

    fn accept(&self, page: u32, features: u32) {
        let [a, b, c, d] = features.to_le_bytes();
        self.command(WRITE_FEAT, &[a, b, c, d, page as u8]);
    }

    fn queue_size(&self, queue: u16) -> u16 {
        let [a, b] = queue.to_be_bytes();
        let [_, _, c, d] = self.ask(READ_VQ_CONF, [a, b, 0, 0]);
        u16::from_be_bytes([c, d])
    }

    fn set_up(&self, queue: u16, config: &RingConfig) {
        let mut info = config.descriptor.to_be_bytes().to_vec();
        info.extend([0; 4]);
        info.extend(queue.to_be_bytes());
        info.extend(config.size.get().to_be_bytes());
        info.extend(config.driver.to_be_bytes());
        info.extend(config.device.to_be_bytes());
        assert!(self.command(SET_VQ, &info), "a queue where it may be");
    }

    fn notify(&self, queue: u16) {
        let _ = self.channel.notify(queue.into(), 0);
    }
}

/// The page of the CPU, where no queue is.
const PAGE: u64 = BOUNDARY + 0x30_0000;
/// Where the next request has its header.
const WORDS: u64 = BOUNDARY + 0x20_0000;

/// In byte 5 of a path-management word.
const ENABLED: u8 = 0x80;
const COMMANDS: [u8; 13] = [
    WRITE_FEAT,
    READ_FEAT,
    SET_VQ,
    WRITE_CONF,
    READ_CONF,
    WRITE_STATUS,
    READ_VQ_CONF,
    VDEV_RESET,
    SET_IND,
    SET_CONF_IND,
    READ_STATUS,
    SET_IND_ADAPTER,
    SET_VIRTIO_REV,
];
