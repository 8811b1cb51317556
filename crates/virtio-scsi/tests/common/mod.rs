//! A SCSI host device on a bus in memory, and commands for it.
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "each test binary uses a part"
)]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use guest_io::block::RawImage;
use scsi_target::{Identity, Kind, LogicalUnit, Lun, Setup};
use testkit::{Options, Response, TestBus};
use virtio_scsi::virtio_device::Features;
use virtio_scsi::{Address, Scsi, ScsiHandle, ScsiProps, Wish};

pub const BLOCK: usize = 512;
/// Blocks of [`image`].
pub const BLOCKS: u64 = 2048;

pub const GOOD: u8 = 0x00;
pub const CHECK_CONDITION: u8 = 0x02;
pub const BUSY: u8 = 0x08;
pub const CONFLICT: u8 = 0x18;

pub const OK: u8 = 0;
pub const OVERRUN: u8 = 1;
pub const ABORTED: u8 = 2;
pub const BAD_TARGET: u8 = 3;
pub const RESET: u8 = 4;
pub const FAILURE: u8 = 9;
pub const SUCCEEDED: u8 = 10;
pub const REJECTED: u8 = 11;
pub const INCORRECT_LUN: u8 = 12;

pub const CONTROL: u16 = 0;
pub const EVENT: u16 = 1;
pub const REQUEST: u16 = 2;

pub const F_HOTPLUG: Features = Features::bit(1);
pub const F_CHANGE: Features = Features::bit(2);

pub type Unit = LogicalUnit<RawImage>;

/// Bytes that tell their place.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 251) as u8).collect()
}

pub fn image() -> File {
    let file = tempfile::tempfile().unwrap();
    let bytes = pattern(BLOCKS as usize * BLOCK);
    file.write_all_at(&bytes, 0).unwrap();
    file
}

/// An image as long, of zeroes: there at once.
pub fn blank() -> File {
    let file = tempfile::tempfile().unwrap();
    file.set_len(BLOCKS * BLOCK as u64).unwrap();
    file
}

pub fn raw(file: &File) -> RawImage {
    RawImage::new(file.try_clone().unwrap())
        .unwrap()
        .discard(true)
}

pub fn disk(file: &File) -> Arc<Unit> {
    Arc::new(LogicalUnit::new(Setup::default(), raw(file)).unwrap())
}

pub fn cdrom(file: Option<&File>) -> Arc<Unit> {
    let setup = Setup {
        kind: Kind::Cdrom,
        ..Setup::default()
    };
    let backend = file.map(|file| raw(file).read_only(true));
    Arc::new(LogicalUnit::new(setup, backend).unwrap())
}

pub fn at(target: u8, lun: u16) -> Wish {
    Wish {
        target: Some(target),
        lun: Lun::new(lun),
    }
}

pub fn address(target: u8, lun: u16) -> Address {
    Address {
        target,
        lun: Lun::new(lun).unwrap(),
    }
}

/// A device with one disk, at target 1, unit 0.
pub fn device(file: &File) -> (Scsi<RawImage>, ScsiHandle<RawImage>) {
    let scsi = Scsi::new(&ScsiProps::default().virtqueue_size(32)).unwrap();
    let handle = scsi.handle();
    handle.add(at(1, 0), disk(file)).unwrap();
    (scsi, handle)
}

/// The same, started.
pub fn boot(file: &File) -> (TestBus, ScsiHandle<RawImage>) {
    let (scsi, handle) = device(file);
    let mut bus = TestBus::with(scsi, Options::default());
    bus.boot(Features::VERSION_1 | F_HOTPLUG | F_CHANGE | Features::INDIRECT_DESC);
    (bus, handle)
}

/// A booted device whose disk has told its first unit attention.
pub fn ready(file: &File) -> (TestBus, ScsiHandle<RawImage>) {
    let (mut bus, handle) = boot(file);
    settle(&mut bus, 1, 0);
    (bus, handle)
}

/// Hears the unit attentions of a unit out.
pub fn settle(bus: &mut TestBus, target: u8, lun: u16) {
    for _ in 0..8 {
        if command_to(bus, target, lun, &[0; 6], &[], 0).key() != Some(6) {
            return;
        }
    }
    panic!("no end of unit attentions");
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub used: u32,
    pub response: u8,
    pub status: u8,
    pub residual: u32,
    pub sense: Vec<u8>,
    pub data: Vec<u8>,
}

impl Answer {
    pub fn of(response: &Response, sense_size: usize) -> Self {
        let bytes = &response.bytes;
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        Self {
            used: response.len,
            response: bytes[11],
            status: bytes[10],
            residual: word(4),
            sense: bytes[12..12 + word(0) as usize].to_vec(),
            data: bytes[12 + sense_size..].to_vec(),
        }
    }

    /// Sense key, in either format.
    pub fn key(&self) -> Option<u8> {
        match self.sense.first()? & 0x7f {
            0x70 => Some(self.sense[2] & 0x0f),
            _ => Some(self.sense[1] & 0x0f),
        }
    }

    /// Additional sense code and qualifier.
    pub fn code(&self) -> u16 {
        let at = if self.sense[0] & 0x7f == 0x70 { 12 } else { 2 };
        u16::from_be_bytes([self.sense[at], self.sense[at + 1]])
    }

    /// Sense key and code of a CHECK CONDITION.
    pub fn refused(&self) -> (u8, u16) {
        assert_eq!(
            (self.response, self.status),
            (OK, CHECK_CONDITION),
            "{self:x?}"
        );
        (self.key().unwrap(), self.code())
    }

    #[track_caller]
    pub fn good(&self) -> &Self {
        assert_eq!((self.response, self.status), (OK, GOOD), "{self:x?}");
        self
    }
}

pub fn lun_field(target: u8, lun: u16) -> [u8; 8] {
    address(target, lun).encode()
}

/// The request of a command, up to its data.
pub fn header(lun: [u8; 8], id: u64, cdb: &[u8]) -> Vec<u8> {
    let mut bytes = lun.to_vec();
    bytes.extend(id.to_le_bytes());
    bytes.extend([0; 3]);
    bytes.extend(cdb);
    bytes.resize(19 + 32, 0);
    bytes
}

/// A command to the disk.
pub fn command(bus: &mut TestBus, cdb: &[u8], out: &[u8], room: u32) -> Answer {
    command_to(bus, 1, 0, cdb, out, room)
}

pub fn command_to(
    bus: &mut TestBus,
    target: u8,
    lun: u16,
    cdb: &[u8],
    out: &[u8],
    room: u32,
) -> Answer {
    raw_command(bus, lun_field(target, lun), cdb, out, room)
}

pub fn raw_command(bus: &mut TestBus, lun: [u8; 8], cdb: &[u8], out: &[u8], room: u32) -> Answer {
    let header = header(lun, 0x1234, cdb);
    let readable: &[&[u8]] = if out.is_empty() {
        &[&header]
    } else {
        &[&header, out]
    };
    let writable: &[u32] = if room == 0 { &[108] } else { &[108, room] };
    Answer::of(&bus.request(REQUEST, readable, writable), 96)
}

/// A task management function; its response.
pub fn manage(bus: &mut TestBus, function: u32, lun: [u8; 8], id: u64) -> u8 {
    let request = tmf(function, lun, id);
    let answer = bus.request(CONTROL, &[&request], &[1]);
    assert_eq!(answer.len, 1);
    answer.bytes[0]
}

pub fn tmf(function: u32, lun: [u8; 8], id: u64) -> Vec<u8> {
    let mut bytes = 0_u32.to_le_bytes().to_vec();
    bytes.extend(function.to_le_bytes());
    bytes.extend(lun);
    bytes.extend(id.to_le_bytes());
    bytes
}

pub fn read10(lba: u32, blocks: u16) -> Vec<u8> {
    transfer10(0x28, lba, blocks)
}

pub fn write10(lba: u32, blocks: u16) -> Vec<u8> {
    transfer10(0x2a, lba, blocks)
}

pub fn transfer10(code: u8, lba: u32, blocks: u16) -> Vec<u8> {
    let mut cdb = vec![code, 0];
    cdb.extend(lba.to_be_bytes());
    cdb.push(0);
    cdb.extend(blocks.to_be_bytes());
    cdb.push(0);
    cdb
}

pub fn transfer16(code: u8, flags: u8, lba: u64, blocks: u32) -> Vec<u8> {
    let mut cdb = vec![code, flags];
    cdb.extend(lba.to_be_bytes());
    cdb.extend(blocks.to_be_bytes());
    cdb.extend([0, 0]);
    cdb
}

pub fn contents(file: &File, at: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, at).unwrap();
    bytes
}
