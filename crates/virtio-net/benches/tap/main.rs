//! Frames through a tap interface, beside a bare loop of readv(2) or writev(2) on the same one.
//!
//! `cargo bench -p virtio-net`, as root, prints frames per second of the device's side: what is
//! timed is a wake-up with a ring full of frames, not the driver that filled it. The interface is in
//! a network namespace of its own, where nobody listens. Nothing here asserts a time: the figures
//! are for people, the ratios for comparison.
//!
//! What is compared is the fastest round of each. Where the kernel mitigates speculative return stack
//! overflow, a bare loop is in one of two states, which differ by 200 ns a frame; it stays in it for many
//! frames, and which one prevails depends on the addresses of its code. The kernel's functions start more
//! slowly in one of them. A median says which state prevailed, and so differs from build to build.

mod interface;

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use interface::{Injector, tap};
use rustix::io::{readv, writev};
use testkit::{Segment, TestBus};
use virtio_device::Features;
use virtio_net::{Backend, Facts, FrameFd, HEADER, Net, NetProps, Offloads};

fn main() {
    let (queue, injector) = match tap() {
        Ok(ends) => ends,
        Err(error) => {
            println!("no tap interface ({error}): this takes root and /dev/net/tun");
            return;
        }
    };
    println!(
        "frames per second, in thousands, one thread: the fastest of {ROUNDS} rounds (the median)"
    );
    println!("{:>18} {:>15} {:>15} {:>7}", "", "device", "bare", "ratio");
    for (name, frame) in [("64 B", small()), ("64 KiB GSO", large())] {
        transmit(name, &queue, &frame);
        receive(name, &queue, &injector, &frame);
    }
}

/// A header of a line and a frame.
#[derive(Clone)]
struct Packet {
    header: [u8; HEADER],
    frame: Vec<u8>,
}

fn transmit(name: &str, queue: &OwnedFd, packet: &Packet) {
    let mut bus = boot(queue);
    let bytes = [&packet.header[..], &packet.frame].concat();
    let address = bus.heap().alloc(bytes.len() as u64, 64);
    bus.ram().write(address, &bytes);
    let chain = [Segment {
        address,
        len: bytes.len() as u32,
        writable: false,
    }];
    let mut device = || {
        for _ in 0..BATCH {
            bus.queue(1).add(&chain).expect("room");
        }
        bus.queue(1).publish();
        bus.notify(1);
        let took = timed(|| {
            bus.run();
        });
        for _ in 0..BATCH {
            bus.queue(1).collect().expect("all are sent");
        }
        took
    };
    let mut bare = || {
        timed(|| {
            for _ in 0..BATCH {
                let parts = [IoSlice::new(&packet.header), IoSlice::new(&packet.frame)];
                writev(queue, &parts).expect("a tap interface takes frames");
            }
        })
    };
    race(&format!("TX {name}"), [&mut device, &mut bare]);
}

fn receive(name: &str, queue: &OwnedFd, injector: &Injector, packet: &Packet) {
    let mut bus = boot(queue);
    let len = packet.frame.len().max(1526) as u32 + 64;
    let address = bus.heap().alloc(len.into(), 64);
    let chain = [Segment {
        address,
        len,
        writable: true,
    }];
    let mut device = || {
        for _ in 0..BATCH {
            bus.queue(0).add(&chain).expect("room");
        }
        bus.queue(0).publish();
        (0..BATCH).for_each(|_| injector.send(packet));
        bus.notify(0);
        let took = timed(|| {
            bus.run();
        });
        for _ in 0..BATCH {
            bus.queue(0).collect().expect("all are received");
        }
        took
    };
    let (mut header, mut frame) = ([0; HEADER], vec![0; len as usize]);
    let mut bare = || {
        (0..BATCH).for_each(|_| injector.send(packet));
        timed(|| {
            for _ in 0..BATCH {
                let mut parts = [IoSliceMut::new(&mut header), IoSliceMut::new(&mut frame)];
                readv(queue, &mut parts).expect("a frame");
            }
        })
    };
    race(&format!("RX {name}"), [&mut device, &mut bare]);
}

fn boot(queue: &OwnedFd) -> TestBus {
    let line = FrameFd::new(queue.try_clone().expect("a descriptor")).expect("a descriptor");
    let net = Net::new(&NetProps::default(), Able, vec![line]).expect("a device");
    let mut bus = TestBus::new(net);
    let offloads = Features::from_bits(0x7f83 | 7 << 54);
    bus.boot(Features::VERSION_1 | Features::INDIRECT_DESC | Features::EVENT_IDX | offloads | MRG);
    bus
}

/// The interface is set up once and for all.
struct Able;

impl Backend for Able {
    fn facts(&self) -> Facts {
        Facts {
            header: true,
            offloads: Offloads::ALL,
        }
    }

    fn set_offloads(&self, _: Offloads) -> std::io::Result<()> {
        Ok(())
    }

    fn set_lines(&self, _: u16) -> std::io::Result<()> {
        Ok(())
    }
}

fn timed(f: impl FnOnce()) -> Duration {
    let start = Instant::now();
    f();
    start.elapsed()
}

/// Lets both take turns, so that what disturbs the machine disturbs both, and tells how many frames per
/// second each has moved.
fn race(name: &str, mut contenders: [&mut dyn FnMut() -> Duration; 2]) {
    let mut times = [const { Vec::new() }; 2];
    for round in 0..=ROUNDS {
        for (contender, times) in contenders.iter_mut().zip(&mut times) {
            let took = contender();
            // The first round warms up.
            if round > 0 {
                times.push(took);
            }
        }
    }
    let [device, bare] = times.map(|mut times| {
        times.sort_unstable();
        [times[0], times[ROUNDS / 2]].map(|took| BATCH as f64 / took.as_secs_f64())
    });
    let column = |[fastest, median]: [f64; 2]| {
        let median = format!("({:.0})", median / 1e3);
        format!("{:>8.0} {median:>6}", fastest / 1e3)
    };
    let ratio = device[0] / bare[0];
    println!(
        "{name:>18} {} {} {ratio:>7.2}",
        column(device),
        column(bare)
    );
}

/// An Ethernet frame that no protocol takes.
fn small() -> Packet {
    let mut frame = vec![0xff; 64];
    frame[12..14].copy_from_slice(&[0x88, 0xb5]);
    let header = [0; HEADER];
    Packet { header, frame }
}

/// TCP over IPv4, to be cut into segments of 1448 bytes.
fn large() -> Packet {
    let mut frame = vec![0; 14 + 65_000];
    frame[..6].fill(0xff);
    frame[12..14].copy_from_slice(&[8, 0]);
    let ip = [
        0x45, 0, 0xfd, 0xe8, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
    ];
    frame[14..34].copy_from_slice(&ip);
    // Length of the TCP header.
    frame[46] = 5 << 4;
    let header = [1, 1, 54, 0, 0xa8, 5, 34, 0, 16, 0, 0, 0];
    Packet { header, frame }
}

/// VIRTIO_NET_F_MRG_RXBUF.
const MRG: Features = Features::bit(15);
const BATCH: usize = 128;
const ROUNDS: usize = 301;
