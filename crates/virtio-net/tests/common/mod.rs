//! Host ends in memory and on sockets, and a driver's words.

#![allow(dead_code, unreachable_pub, reason = "each test uses some of it")]

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex};

use rustix::event::{EventfdFlags, eventfd};
use testkit::{Request, TestBus};
use virtio_device::vm_memory::bitmap::BitmapSlice;
use virtio_device::{Features, Interest};
use virtio_net::guest_io::Iovecs;
use virtio_net::{Backend, Facts, FrameFd, Line, Net, NetProps, Offloads};

/// A line that gives back what it takes, if that is short.
pub struct Echo {
    frames: VecDeque<Vec<u8>>,
    input: OwnedFd,
    output: OwnedFd,
}

impl Echo {
    pub fn new() -> Self {
        let counter = || eventfd(0, EventfdFlags::NONBLOCK).unwrap();
        Self {
            frames: VecDeque::new(),
            input: counter(),
            output: counter(),
        }
    }
}

impl Line for Echo {
    fn receive<B: BitmapSlice>(&mut self, packet: &mut Iovecs<'_, B>) -> io::Result<usize> {
        let Some(frame) = self.frames.pop_front() else {
            let _ = rustix::io::read(&self.input, &mut [0; 8]);
            return Err(ErrorKind::WouldBlock.into());
        };
        assert_eq!(packet.copy_in(&frame), frame.len(), "there is room");
        Ok(frame.len())
    }

    fn send<B: BitmapSlice>(&mut self, packet: &mut Iovecs<'_, B>) -> io::Result<()> {
        let mut frame = vec![0; packet.remaining()];
        packet.copy_out(&mut frame);
        if self.frames.len() < 64 && frame.len() <= 200 {
            self.frames.push_back(frame);
        }
        rustix::io::write(&self.input, &1u64.to_ne_bytes())?;
        Ok(())
    }

    fn input(&self) -> BorrowedFd<'_> {
        self.input.as_fd()
    }

    fn output(&self) -> (BorrowedFd<'_>, Interest) {
        (self.output.as_fd(), Interest::Write)
    }
}

/// A back-end that can do everything, and remembers what it was told.
#[derive(Clone, Default)]
pub struct Tap {
    pub told: Arc<Mutex<Told>>,
}

#[derive(Default)]
pub struct Told {
    pub offloads: Option<Offloads>,
    pub lines: u16,
    pub refuses: bool,
}

impl Tap {
    pub fn told<T>(&self, f: impl FnOnce(&mut Told) -> T) -> T {
        f(&mut self.told.lock().unwrap())
    }
}

impl Backend for Tap {
    fn facts(&self) -> Facts {
        Facts {
            header: true,
            offloads: Offloads::ALL,
        }
    }

    fn set_offloads(&self, offloads: Offloads) -> io::Result<()> {
        self.told(|told| {
            told.offloads = Some(offloads);
            match told.refuses {
                true => Err(ErrorKind::InvalidInput.into()),
                false => Ok(()),
            }
        })
    }

    fn set_lines(&self, count: u16) -> io::Result<()> {
        self.told(|told| {
            told.lines = count;
            match told.refuses {
                true => Err(ErrorKind::InvalidInput.into()),
                false => Ok(()),
            }
        })
    }
}

/// Everything that is off by default, on.
pub fn everything() -> NetProps {
    NetProps::default()
        .mq(true)
        .rss(true)
        .hash(true)
        .notf_coal(true)
        .vq_notf_coal(true)
        .guest_hdrlen(true)
        .host_mtu(9000)
        .speed(1000)
}

/// A device with as many lines as `far` ends are returned, like taps: a header before each frame.
pub fn on_sockets(props: &NetProps, pairs: usize) -> (Net<FrameFd>, Vec<UnixDatagram>, Tap) {
    let (mut near, mut far) = (Vec::new(), Vec::new());
    for _ in 0..pairs {
        let (a, b) = UnixDatagram::pair().unwrap();
        a.set_nonblocking(true).unwrap();
        b.set_nonblocking(true).unwrap();
        near.push(FrameFd::new(a.into()).unwrap());
        far.push(b);
    }
    let tap = Tap::default();
    let net = Net::new(props, tap.clone(), near).unwrap();
    (net, far, tap)
}

/// A device on one socket, running, with `features` besides VERSION_1.
pub fn running(props: &NetProps, features: Features) -> (TestBus, UnixDatagram) {
    let (net, mut far, _) = on_sockets(props, 1);
    let mut bus = TestBus::new(net);
    bus.boot(features | Features::VERSION_1 | Features::RING_RESET);
    (bus, far.pop().unwrap())
}

/// A header of a line, then a frame.
pub fn with_header(header: [u8; 12], frame: &[u8]) -> Vec<u8> {
    [&header[..], frame].concat()
}

/// A frame from the host.
pub fn send(far: &UnixDatagram, frame: &[u8]) {
    far.send(&with_header([0; 12], frame)).unwrap();
}

/// The next frame of the guest, header included.
pub fn sent(far: &UnixDatagram) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 80_000];
    let len = far.recv(&mut bytes).ok()?;
    bytes.truncate(len);
    Some(bytes)
}

/// What the device puts into `request`, if it does.
pub fn received(bus: &mut TestBus, queue: u16, request: &Request) -> Option<Vec<u8>> {
    bus.run();
    let used = bus.queue(queue).collect()?;
    assert_eq!(used.id, request.id);
    let response = bus.response(request, used);
    Some(response.bytes[..response.len as usize].to_vec())
}

/// Has the device do a command; true if it says that it did.
pub fn command(bus: &mut TestBus, queue: u16, class: u8, command: u8, data: &[u8]) -> bool {
    let response = bus.request(queue, &[&[class, command], data], &[1]);
    assert_eq!(response.len, 1);
    assert!(response.bytes[0] <= 1);
    response.bytes[0] == 0
}

/// Bytes that differ from their neighbours over any distance that matters.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i ^ i >> 8 ^ i >> 16) as u8).collect()
}

/// A frame to `destination` with this type and payload.
pub fn frame(destination: [u8; 6], rest: &[u8]) -> Vec<u8> {
    [&destination[..], &[2, 0, 0, 0, 0, 9], rest].concat()
}

pub const OWN: [u8; 6] = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56];

pub const fn bit(n: u8) -> Features {
    Features::bit(n)
}

pub const CSUM: Features = bit(0);
pub const GUEST_CSUM: Features = bit(1);
pub const CTRL_GUEST_OFFLOADS: Features = bit(2);
pub const MTU: Features = bit(3);
pub const GUEST_TSO4: Features = bit(7);
pub const HOST_TSO4: Features = bit(11);
pub const MRG_RXBUF: Features = bit(15);
pub const STATUS: Features = bit(16);
pub const CTRL_VQ: Features = bit(17);
pub const CTRL_RX: Features = bit(18);
pub const CTRL_VLAN: Features = bit(19);
pub const CTRL_RX_EXTRA: Features = bit(20);
pub const GUEST_ANNOUNCE: Features = bit(21);
pub const MQ: Features = bit(22);
pub const CTRL_MAC_ADDR: Features = bit(23);
pub const VQ_NOTF_COAL: Features = bit(52);
pub const NOTF_COAL: Features = bit(53);
pub const HASH_REPORT: Features = bit(57);
pub const RSS: Features = bit(60);
