//! The whole device path beside that of virtio-blk, on the same file.
//!
//! `cargo bench -p virtio-scsi` prints requests per second of random 4 KiB reads: a driver model,
//! its rings, the device, its unit and guest-io, on one thread, next to the same with a block
//! device. What SCSI costs is in the ratio. Nothing here asserts a time: the figures are for
//! people, the ratios for comparison.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use guest_io::block::{RawChannel, RawImage};
use scsi_target::{LogicalUnit, Setup};
use testkit::bench::{
    BLOCK, BLOCKS, BlockReader, Memory, Protocol, Random, VirtioBlk, image, on_images, race,
};
use virtio_blk::{Blk, BlkProps, BlkWorker};
use virtio_device::Features;
use virtio_device::vm_memory::{Bytes, VolatileSlice};
use virtio_scsi::{Address, Scsi, ScsiProps, ScsiWorker, Wish};

fn main() {
    if let Ok(what) = std::env::var(ONLY) {
        return only(&what);
    }
    println!("random reads of 4 KiB, one thread, median of {ROUNDS} rounds");
    println!("requests per second, in thousands");
    on_images(TMP, compare);
}

fn compare(name: &str, file: &File) {
    println!("\n{name}");
    println!("{:>6} {:>9} {:>9} {:>7}", "depth", "scsi", "blk", "ratio");
    for depth in [1, 8, 32] {
        let (mut scsi, mut blk) = (scsi(file, depth), blk(file, depth));
        let mut random = Random::default();
        let [scsi, blk] = race(
            ROUNDS,
            || random.numbers(REQUESTS, BLOCKS),
            [&mut |blocks| scsi.read(blocks), &mut |blocks| {
                blk.read(blocks)
            }],
        );
        let (scsi, blk) = (scsi / 1e3, blk / 1e3);
        println!("{depth:>6} {scsi:>9.0} {blk:>9.0} {:>7.2}", scsi / blk);
    }
}

/// What a profiler is to see: one contender, `scsi:DEPTH` or `blk:DEPTH`.
fn only(what: &str) {
    let file = image(TMP.as_ref()).expect("an image");
    let (name, depth) = what.split_once(':').expect("NAME:DEPTH");
    let depth = depth.parse().expect("a depth");
    let blocks = Random::default().numbers(REQUESTS, BLOCKS);
    match name {
        "scsi" => scsi(&file, depth).read(&blocks),
        _ => blk(&file, depth).read(&blocks),
    }
}

fn scsi(file: &File, depth: u16) -> BlockReader<Command, ScsiWorker<RawImage, Arc<Memory>>> {
    let mut device = Scsi::new(&ScsiProps::default().virtqueue_size(512)).expect("a device");
    let setup = Setup {
        shared: true,
        ..Setup::default()
    };
    let unit = LogicalUnit::new(setup, raw(file)).expect("a unit");
    let wish = Wish {
        target: Some(0),
        ..Wish::default()
    };
    let added = device.handle().add(wish, Arc::new(unit));
    assert_eq!(added.ok(), Some(Address::default()));
    let mut reader = BlockReader::new(&mut device, 2, FEATURES, depth);
    // The first command only hears that the unit was switched on.
    assert!(!reader.try_read(&[0]), "a unit attention");
    reader
}

fn blk(file: &File, depth: u16) -> BlockReader<VirtioBlk, BlkWorker<RawChannel<Arc<Memory>>>> {
    let props = BlkProps::default().queue_size(512).share_rw(true);
    let mut device = Blk::new(&props, raw(file)).expect("a device");
    BlockReader::new(&mut device, 0, FEATURES | BLK_FLUSH, depth)
}

fn raw(file: &File) -> RawImage {
    RawImage::new(file.try_clone().expect("a descriptor")).expect("an image")
}

/// `struct virtio_scsi_req_cmd`, READ (10) of target 0, unit 0, as Linux sends it.
struct Command;

impl Protocol for Command {
    const REQUEST: &'static [u8] = &READ;
    const ANSWER: usize = 108;
    const ANSWER_FIRST: bool = true;

    fn ask(requests: &VolatileSlice<'_>, at: usize, block: u64) {
        let lba = (block * SECTORS) as u32;
        let written = requests.write_slice(&lba.to_be_bytes(), at + CDB + 2);
        written.expect("in area");
    }

    fn is_good(answers: &VolatileSlice<'_>, at: usize) -> bool {
        // Status and response.
        answers.load::<u16>(at + 10, Ordering::Relaxed).ok() == Some(0)
    }
}

const READ: [u8; CDB + 32] = {
    let mut bytes = [0; CDB + 32];
    // One level of a logical unit number; the command; its number of blocks.
    (bytes[0], bytes[2]) = (1, 0x40);
    (bytes[CDB], bytes[CDB + 8]) = (0x28, SECTORS as u8);
    bytes
};
const CDB: usize = 19;
const SECTORS: u64 = BLOCK as u64 / 512;
const FEATURES: Features = Features::VERSION_1.with(Features::EVENT_IDX);
const BLK_FLUSH: Features = Features::bit(9);
const ONLY: &str = "PATH_ONLY";
const TMP: &str = env!("CARGO_TARGET_TMPDIR");
const ROUNDS: usize = 41;
/// In each round; a multiple of every depth.
const REQUESTS: usize = 1 << 15;
