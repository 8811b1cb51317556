//! The channel programs that Linux issues to QEMU's devices, replayed: the same answers.

mod machine;

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use machine::*;
use testkit::channel::{Ccw, Status as Ending};
use testkit::vm_memory::GuestAddress;
use testkit::{DriverQueue, Memory};
use virtio_9p::p9_server::{Limits, Synth};
use virtio_9p::{NineP, NinePProps};
use virtio_balloon::{Balloon, BalloonProps, HostMemory};
use virtio_blk::{Blk, BlkProps, NullDisk};
use virtio_device::props::Props;
use virtio_device::{Features, VirtioDevice};
use virtio_net::{Framed, Net, NetProps, Plain};
use virtio_rng::{HostRandom, Rng, RngProps};
use virtio_scsi::{Scsi, ScsiProps};
use virtio_serial::{Serial, SerialProps};

/// Sections of devices that exist. A new device gets its row here.
const DEVICES: &[(&str, Replay)] = &[
    ("9p", |steps| {
        let props = NinePProps::default().mount_tag(Some("hostshare".to_owned()));
        let share = NineP::new(&props, Arc::new(Synth::new()), Limits::default());
        replay(share.expect("a share"), steps);
    }),
    ("balloon", |steps| {
        let balloon = Balloon::new(&BalloonProps::default(), HostMemory);
        replay(balloon.expect("a balloon"), steps);
    }),
    ("blk", |steps| {
        let disk = NullDisk::new(16 << 20).expect("a disk");
        replay(
            Blk::new(&BlkProps::default(), disk).expect("a block device"),
            steps,
        );
    }),
    ("net", |steps| {
        let mut props = NetProps::default();
        Props::set(&mut props, "mac", "52:54:00:12:34:56").expect("an address");
        let (near, _far) = UnixStream::pair().expect("a line");
        near.set_nonblocking(true).expect("a socket of ours");
        let line = Framed::new(near.into()).expect("a line");
        replay(
            Net::new(&props, Plain, vec![line]).expect("a network device"),
            steps,
        );
    }),
    ("rng", |steps| {
        replay(
            Rng::new(&RngProps::default(), HostRandom).expect("an entropy device"),
            steps,
        );
    }),
    ("scsi", |steps| {
        let scsi = Scsi::<NullDisk>::new(&ScsiProps::default());
        replay(scsi.expect("a SCSI host device"), steps);
    }),
    ("serial", |steps| {
        replay(
            Serial::new(&SerialProps::default(), Vec::new()).expect("a serial device"),
            steps,
        );
    }),
];

#[test]
fn linux_gets_the_same_answers_as_from_qemu() {
    let sections = parse(include_str!("golden/programs.txt"));
    assert_eq!(sections.len(), 7);
    for (name, steps) in &sections {
        match DEVICES.iter().find(|(device, _)| device == name) {
            Some((_, replay)) => replay(steps),
            None => assert!(!has_crate(name), "virtio-{name} is here: give it a row"),
        }
    }
}

type Replay = fn(&[Step]);

#[derive(Debug)]
enum Step {
    Command(Program),
    /// Sizes of queue 0, 1, ...
    Queues(Vec<u16>),
}

#[derive(Debug, Default)]
struct Program {
    command: u8,
    flags: u8,
    before: Vec<u8>,
    /// Ours, and QEMU's.
    after: Option<(Vec<u8>, Vec<u8>)>,
}

fn has_crate(name: &str) -> bool {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    let path = crates.expect("the crates").join(format!("virtio-{name}"));
    path.exists()
}

fn replay(device: impl VirtioDevice, steps: &[Step]) {
    // The guest had its indicators near the end of 512 MiB.
    let memory = Memory::from_ranges(&[(GuestAddress(0), 512 << 20)]).expect("guest memory");
    let options = Options {
        features: virtio_bus::VirtioProps::default().features(),
        ..Options::default()
    };
    let machine = Machine::on(Arc::new(memory), device, options);
    let mut queues = Vec::new();
    for step in steps {
        match step {
            Step::Command(program) => run(&machine, program),
            Step::Queues(sizes) => queues = set_up(&machine, sizes),
        }
    }
    assert_eq!(machine.status().0, 0x0f, "{} queues", queues.len());
}

fn run(machine: &Machine, program: &Program) {
    let mut data = program.before.clone();
    let status = machine
        .channel
        .command(program.command, program.flags, &mut data);
    assert_eq!(
        (status.device, status.subchannel),
        (Ending::END, 0),
        "{program:02x?}"
    );
    if let Some((ours, _)) = &program.after {
        assert_eq!(&data, ours, "{program:02x?}");
    }
}

fn set_up(machine: &Machine, sizes: &[u16]) -> Vec<DriverQueue<testkit::Space>> {
    let set_up = |(&size, index): (&u16, u16)| {
        assert_eq!(machine.queue_size(index), size, "queue {index}");
        let features = Features::VERSION_1;
        let queue = DriverQueue::new(machine.space(), machine.heap.clone(), size, features);
        machine.command(SET_VQ, vq_info(index, queue.config()));
        queue
    };
    sizes.iter().zip(0..).map(set_up).collect()
}

fn parse(text: &str) -> Vec<(&str, Vec<Step>)> {
    let mut sections = Vec::new();
    let lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    for line in lines {
        if let Some(name) = line.strip_prefix('[') {
            sections.push((name.trim_end_matches(']'), Vec::new()));
            continue;
        }
        let (_, steps) = sections.last_mut().expect("a section");
        steps.push(step(line));
    }
    sections
}

fn step(line: &str) -> Step {
    if let Some(sizes) = line.strip_prefix("queues ") {
        return Step::Queues(sizes.split(' ').flat_map(repeated).collect());
    }
    let (asked, answer) = line
        .split_once(" -> ")
        .map_or((line, None), |(a, b)| (a, Some(b)));
    let (command, before) = asked.split_once(' ').unwrap_or((asked, ""));
    let after = answer.map(|answer| {
        let (ours, theirs) = answer.split_once(" | ").unwrap_or((answer, answer));
        (hex(ours), hex(theirs))
    });
    let mut before = hex(before);
    if let Some((ours, theirs)) = &after {
        assert_eq!(ours.len(), theirs.len());
        before.resize(ours.len(), 0);
    }
    let flags = if command.ends_with('+') { Ccw::SLI } else { 0 };
    Step::Command(Program {
        command: hex(command.trim_end_matches('+'))[0],
        flags,
        before,
        after,
    })
}

fn repeated(sizes: &str) -> Vec<u16> {
    let number = |text: &str| text.parse::<u16>().expect("a number");
    let (size, times) = sizes.split_once('*').unwrap_or((sizes, "1"));
    vec![number(size); number(times).into()]
}

fn hex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal");
    (0..text.len()).step_by(2).map(byte).collect()
}
