//! A block device on a bus in memory, and requests for it.
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "each test binary uses a part"
)]

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;

use guest_io::Mode;
use testkit::{Options, Response, TestBus};
use virtio_blk::virtio_device::Features;
use virtio_blk::{Backend, Blk, BlkProps, RawImage, guest_io};

pub use testkit::scripted::{Call, Fault, Script, Scripted};

pub const SECTOR: usize = 512;
/// Sectors of [`image`].
pub const SECTORS: u64 = 256;

pub const IN: u32 = 0;
pub const OUT: u32 = 1;
pub const SCSI_CMD: u32 = 2;
pub const FLUSH: u32 = 4;
pub const GET_ID: u32 = 8;
pub const DISCARD: u32 = 11;
pub const WRITE_ZEROES: u32 = 13;

pub const OK: u8 = 0;
pub const IOERR: u8 = 1;
pub const UNSUPP: u8 = 2;
/// What a status byte is that nobody wrote.
pub const NONE: u8 = 0xee;

pub const F_RO: Features = Features::bit(5);
pub const F_FLUSH: Features = Features::bit(9);
pub const F_CONFIG_WCE: Features = Features::bit(11);

/// Bytes that tell their place.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 251) as u8).collect()
}

/// A file of [`SECTORS`] sectors of [`pattern`].
pub fn image() -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&pattern(SECTORS as usize * SECTOR)).unwrap();
    file
}

pub fn contents(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

pub fn raw(file: &File) -> RawImage {
    RawImage::new(file.try_clone().unwrap()).unwrap()
}

/// [`image`] under a script.
pub fn scripted(file: &File) -> (Scripted, Script) {
    let script = Script::new();
    let image = raw(file).mode(Mode::Sync).discard(true);
    let backend = Scripted {
        image,
        script: script.clone(),
    };
    (backend, script)
}

pub fn all_modes() -> [Mode; 3] {
    [Mode::Auto, Mode::Uring, Mode::Sync]
}

/// Split and packed, direct and indirect.
pub fn all_rings() -> [Features; 4] {
    let indirect = Features::INDIRECT_DESC | Features::EVENT_IDX;
    [
        Features::NONE,
        indirect,
        Features::RING_PACKED,
        Features::RING_PACKED | indirect,
    ]
}

/// A device that has been started, on `backend`.
pub fn boot(props: &BlkProps, backend: impl Backend) -> TestBus {
    boot_with(props, backend, Features::INDIRECT_DESC)
}

/// The same with ring features `ring`.
pub fn boot_with(props: &BlkProps, backend: impl Backend, ring: Features) -> TestBus {
    let mut bus = TestBus::with(Blk::new(props, backend).unwrap(), Options::default());
    let offered = bus.core().offered();
    let device = Features::from_bits(offered.bits() & 0xff_ffff);
    bus.boot(Features::VERSION_1 | device | ring);
    bus
}

pub fn header(kind: u32, sector: u64) -> Vec<u8> {
    let mut bytes = kind.to_le_bytes().to_vec();
    bytes.extend([0; 4]);
    bytes.extend(sector.to_le_bytes());
    bytes
}

/// One range of a discard or write zeroes request.
pub fn range(sector: u64, sectors: u32, flags: u32) -> Vec<u8> {
    let mut bytes = sector.to_le_bytes().to_vec();
    bytes.extend(sectors.to_le_bytes());
    bytes.extend(flags.to_le_bytes());
    bytes
}

/// What became of a request: its status, how many bytes the device says it wrote, and its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u8,
    pub used: u32,
    pub data: Vec<u8>,
}

impl Answer {
    pub fn of(response: Response) -> Self {
        let (used, mut data) = (response.len, response.bytes);
        let status = data.pop().unwrap();
        Self { status, used, data }
    }
}

pub fn read(bus: &mut TestBus, sector: u64, len: usize) -> Answer {
    let header = header(IN, sector);
    Answer::of(bus.request(0, &[&header], &[len as u32, 1]))
}

pub fn write(bus: &mut TestBus, sector: u64, data: &[u8]) -> Answer {
    request(bus, OUT, sector, data)
}

/// A request with data for the device only.
pub fn request(bus: &mut TestBus, kind: u32, sector: u64, data: &[u8]) -> Answer {
    let header = header(kind, sector);
    Answer::of(match data {
        [] => bus.request(0, &[&header], &[1]),
        _ => bus.request(0, &[&header, data], &[1]),
    })
}
