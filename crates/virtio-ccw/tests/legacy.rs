//! Revision 0: one area per queue, no FEATURES_OK, and everything big-endian.

mod machine;

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex};

use machine::*;
use testkit::{DriverQueue, Segment};
use virtio_blk::{Blk, BlkProps, RawImage};
use virtio_bus::Status;
use virtio_device::{ByteOrder, Features, VirtioDevice};
use virtio_rng::{HostRandom, Rng, RngProps};
use virtio_serial::{Serial, SerialProps};

const READY: Status = Status(Status::ACKNOWLEDGE.0 | Status::DRIVER.0 | Status::DRIVER_OK.0);

/// A machine whose legacy driver has its queues, of full size, and is ready.
fn legacy(
    device: impl VirtioDevice,
    features: Features,
) -> (Machine, Vec<DriverQueue<testkit::Space>>) {
    let machine = Machine::new(device);
    machine.command(VDEV_RESET, []);
    machine.write_status(Status::ACKNOWLEDGE);
    machine.write_status(Status::ACKNOWLEDGE | Status::DRIVER);
    let [a, b, c, d] = features.page(0).to_le_bytes();
    machine.command(WRITE_FEAT, [a, b, c, d, 0]);
    let queue = |index| set_up(&machine, index, features);
    let queues = (0..).map_while(queue).collect();
    machine.command(SET_IND, INDICATORS.to_be_bytes());
    machine.command(SET_CONF_IND, CONFIG_INDICATORS.to_be_bytes());
    machine.write_status(READY);
    machine.run();
    (machine, queues)
}

fn set_up(
    machine: &Machine,
    index: u16,
    features: Features,
) -> Option<DriverQueue<testkit::Space>> {
    let size = Some(machine.queue_size(index)).filter(|&size| size > 0)?;
    let (space, heap) = (machine.space(), machine.heap.clone());
    let queue = DriverQueue::in_one_area(space, heap, size, features, ByteOrder::Big);
    let mut info = [0; 16];
    info[..8].copy_from_slice(&queue.config().descriptor.to_be_bytes());
    info[8..12].copy_from_slice(&4096_u32.to_be_bytes());
    info[12..14].copy_from_slice(&index.to_be_bytes());
    info[14..].copy_from_slice(&size.to_be_bytes());
    machine.command(SET_VQ, info);
    Some(queue)
}

/// Sends a request and takes its answer: bytes written, and what is in the writable buffers.
fn request(
    machine: &Machine,
    queues: &mut [DriverQueue<testkit::Space>],
    queue: u16,
    readable: &[&[u8]],
    writable: &[u32],
) -> (u32, Vec<u8>) {
    let ram = machine.channel.ram();
    let buffer = |len: usize, writable| Segment {
        address: machine.heap.alloc(len as u64, 1),
        len: len as u32,
        writable,
    };
    let mut chain = Vec::new();
    for bytes in readable {
        chain.push(buffer(bytes.len(), false));
        ram.write(chain[chain.len() - 1].address, bytes);
    }
    chain.extend(writable.iter().map(|&len| buffer(len as usize, true)));
    let ring = &mut queues[usize::from(queue)];
    ring.add(&chain).expect("room");
    ring.publish();
    assert_eq!(machine.channel.notify(queue.into(), 0), 0);
    machine.run_until(|| ring.has_used());
    let used = ring.collect().expect("an answer");
    let written = chain.iter().filter(|segment| segment.writable);
    let bytes = written.flat_map(|segment| ram.read(segment.address, segment.len as usize));
    (used.len, bytes.collect())
}

#[test]
fn rings_are_big_endian() {
    let ring = [Features::NONE, Features::EVENT_IDX, Features::INDIRECT_DESC];
    for features in ring {
        let rng = Rng::new(&RngProps::default(), HostRandom).expect("an entropy device");
        let (machine, mut queues) = legacy(rng, features);
        machine.take_word(INDICATORS);
        for round in 0..40 {
            let (written, bytes) = request(&machine, &mut queues, 0, &[], &[16, 16]);
            assert_eq!(written, 32, "{features:?} {round}");
            assert_ne!(bytes, [0; 32]);
            assert_eq!(machine.take_word(INDICATORS), 1, "{features:?} {round}");
        }
    }
}

#[test]
fn block_requests_and_configuration_are_big_endian() {
    let file = tempfile::tempfile().expect("a file");
    file.set_len(1 << 20).expect("a disk");
    let image = RawImage::new(file).expect("an image");
    let disk = Blk::new(&BlkProps::default(), image).expect("a block device");
    let (machine, mut queues) = legacy(disk, Features::bit(9) | Features::bit(14));
    let config = machine.command(READ_CONF, [0; 48]);
    assert_eq!(
        u64::from_be_bytes(config[..8].try_into().unwrap()),
        2048,
        "capacity"
    );
    assert_eq!(
        u32::from_be_bytes(config[12..16].try_into().unwrap()),
        254,
        "seg_max"
    );
    assert_eq!(
        u16::from_be_bytes(config[16..18].try_into().unwrap()),
        2,
        "cylinders"
    );
    assert_eq!(config[18..20], [16, 63]);
    assert_eq!(
        u32::from_be_bytes(config[20..24].try_into().unwrap()),
        512,
        "blk_size"
    );
    let header = |kind: u32, sector: u64| {
        let mut header = [0; 16];
        header[..4].copy_from_slice(&kind.to_be_bytes());
        header[8..].copy_from_slice(&sector.to_be_bytes());
        header
    };
    let data = [0x5a; 512];
    let (_, status) = request(&machine, &mut queues, 0, &[&header(1, 3), &data], &[1]);
    assert_eq!(status, [0], "a write");
    let (_, read) = request(&machine, &mut queues, 0, &[&header(0, 3)], &[512, 1]);
    assert_eq!((&read[..512], read[512]), (&data[..], 0));
    let mut range = [0; 16];
    range[..8].copy_from_slice(&3_u64.to_be_bytes());
    range[8..12].copy_from_slice(&1_u32.to_be_bytes());
    let (_, status) = request(&machine, &mut queues, 0, &[&header(13, 0), &range], &[1]);
    assert_eq!(status, [0], "write zeroes");
    let (_, read) = request(&machine, &mut queues, 0, &[&header(0, 3)], &[512, 1]);
    assert_eq!(read, [0; 513]);
}

#[test]
fn control_messages_of_a_console_are_big_endian() {
    let ports = vec![virtio_serial::Port::console(Paper(Arc::default()))];
    let serial = Serial::new(&SerialProps::default(), ports).expect("a serial device");
    let serial = serial.with_size(132, 43);
    let (machine, mut queues) = legacy(serial, Features::bit(0) | Features::bit(1));
    let config = machine.command(READ_CONF, [0; 8]);
    assert_eq!(config, [0, 132, 0, 43, 0, 0, 0, 31]);
    // DEVICE_READY, of port -1; the answer is PORT_ADD of port 0.
    let ready = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1];
    assert_eq!(request(&machine, &mut queues, 3, &[&ready], &[]).0, 0);
    let (len, add) = request(&machine, &mut queues, 2, &[], &[32]);
    assert_eq!((len, &add[..8]), (8, &[0, 0, 0, 0, 0, 1, 0, 1][..]));
}

#[test]
fn an_emergency_write_is_understood() {
    let paper = Arc::new(Mutex::new(Vec::new()));
    let ports = vec![virtio_serial::Port::console(Paper(paper.clone()))];
    let serial = Serial::new(&SerialProps::default(), ports).expect("a serial device");
    let machine = Machine::new(serial);
    let mut config = machine.command(READ_CONF, [0; 12]);
    config[8..].copy_from_slice(&u32::from(b'A').to_be_bytes());
    machine.command(WRITE_CONF, config);
    assert_eq!(*paper.lock().unwrap(), b"A");
}

#[test]
fn a_legacy_device_goes_on_elsewhere() {
    let rng = || Rng::new(&RngProps::default(), HostRandom).expect("an entropy device");
    let (machine, mut queues) = legacy(rng(), Features::NONE);
    request(&machine, &mut queues, 0, &[], &[16]);
    machine.transport.pause();
    let state = machine.transport.save().expect("paused");
    assert_eq!(state.revision, Some(0));
    let other = machine.successor(rng());
    other.transport.restore(&state).expect("its own state");
    other.transport.resume();
    assert_eq!(request(&other, &mut queues, 0, &[], &[16]).0, 16);
}

#[test]
fn legacy_queues_that_cannot_be_are_rejected() {
    let rng = Rng::new(&RngProps::default(), HostRandom).expect("an entropy device");
    let machine = Machine::new(rng);
    let info = |queue: u64, align: u32, index: u16, size: u16| {
        let mut info = [0; 16];
        info[..8].copy_from_slice(&queue.to_be_bytes());
        info[8..12].copy_from_slice(&align.to_be_bytes());
        info[12..14].copy_from_slice(&index.to_be_bytes());
        info[14..].copy_from_slice(&size.to_be_bytes());
        info
    };
    machine.command(SET_VQ, info(0x10_0000, 4096, 0, 8));
    for wrong in [
        info(0x10_0000, 0, 0, 8),
        info(0x10_0000, 4095, 0, 8),
        info(0x10_0000, 4096, 1, 8),
        info(0x10_0000, 4096, 0, 0),
        info(0x10_0000, 4096, 0, 9),
    ] {
        assert!(machine.rejects(SET_VQ, wrong), "{wrong:02x?}");
    }
    machine.command(SET_VQ, info(0, 0, 0, 0));
}

/// A terminal that nobody types at.
struct Paper(Arc<Mutex<Vec<u8>>>);

impl virtio_serial::PortBackend for Paper {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn input(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn output(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn poll_connected(&mut self) -> bool {
        true
    }
}
