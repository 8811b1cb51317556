//! The block device.

use std::fs::File;

use arbitrary::{Arbitrary, Unstructured};
use testkit::TestBus;
use virtio_blk::guest_io::Mode;
use virtio_blk::{Blk, BlkProps, RawImage};

use crate::backend::{Fault, Slow, Valve};
use crate::device::{Subject, play};

/// The block device, on a file in memory that may take its time and may fail.
pub fn blk(data: &[u8]) {
    let mut u = Unstructured::new(data);
    if let Ok(look) = u.arbitrary() {
        play(Disk::new(look), &mut u);
    }
}

/// What kind of disk it is.
#[derive(Arbitrary, Debug, Default)]
pub(crate) struct Look {
    queues: u8,
    order: u8,
    read_only: bool,
    write_through: bool,
    large_blocks: bool,
    ranges: u8,
}

pub(crate) struct Disk {
    look: Look,
    file: File,
    valve: Valve,
}

/// A request.
#[derive(Arbitrary, Debug)]
pub(crate) struct Header {
    kind: Kind,
    sector: Sector,
    ranges: u8,
    range: (Sector, Sectors, u8),
    cut: Option<u8>,
}

#[derive(Arbitrary, Debug)]
enum Kind {
    Known(u8),
    Any(u32),
}

#[derive(Arbitrary, Debug)]
enum Sector {
    Inside(u8),
    Last(u8),
    Any(u64),
}

#[derive(Arbitrary, Debug)]
enum Sectors {
    Few(u8),
    Any(u32),
}

#[derive(Arbitrary, Debug)]
pub(crate) enum Event {
    Hold,
    Release,
    Fault(Fault),
}

impl Disk {
    pub(crate) fn new(look: Look) -> Self {
        let file = rustix::fs::memfd_create("disk", rustix::fs::MemfdFlags::CLOEXEC);
        let file = File::from(file.expect("a file in memory"));
        file.set_len(SECTORS * 512).expect("some sectors");
        let valve = Valve::new().expect("an event descriptor");
        Self { look, file, valve }
    }

    fn props(&self) -> BlkProps {
        let Look {
            queues,
            order,
            ranges,
            large_blocks,
            ..
        } = self.look;
        let ranges = 1 + u32::from(ranges & 3);
        BlkProps::default()
            .num_queues(1 + u16::from(queues & 3))
            .queue_size(4 << (order & 3))
            .max_discard_segments(ranges)
            .max_write_zeroes_segments(ranges)
            .max_write_zeroes_sectors(16)
            .logical_block_size(virtio_blk::Size(if large_blocks { 4096 } else { 512 }))
    }
}

impl Subject for Disk {
    type Device = Blk<Slow>;
    type Words = Header;
    type Host = Event;

    fn device(&mut self) -> Blk<Slow> {
        let image = RawImage::new(self.file.try_clone().expect("a descriptor"));
        let image = image.expect("an image").mode(Mode::Sync).discard(true);
        let image = image
            .read_only(self.look.read_only)
            .write_through(self.look.write_through);
        let backend = Slow {
            image,
            valve: self.valve.clone(),
        };
        Blk::new(&self.props(), backend).expect("a disk")
    }

    fn words(&self, header: Header) -> Vec<u8> {
        header.bytes()
    }

    fn host(&mut self, event: Event) {
        match event {
            Event::Hold => self.valve.close(),
            Event::Release => self.valve.open(),
            Event::Fault(fault) => self.valve.fail(fault),
        }
    }

    fn release(&mut self) {
        self.valve.open();
    }

    fn repair(&mut self) {
        self.valve.repair();
    }

    fn probe(&mut self, bus: &mut TestBus) {
        self.repair();
        let last = bus.core().queue_count() - 1;
        for queue in [0, last] {
            let response = bus.request(queue, &[&[0; 16]], &[4096, 1]);
            assert_eq!((response.len, response.bytes[4096]), (4097, 0));
        }
        let size = self.file.metadata().expect("a file").len();
        assert_eq!(size, SECTORS * 512, "the image has another size");
    }
}

impl Header {
    fn bytes(&self) -> Vec<u8> {
        let kind = match self.kind {
            Kind::Known(index) => KINDS[usize::from(index) % KINDS.len()],
            Kind::Any(kind) => kind,
        };
        let mut bytes = kind.to_le_bytes().to_vec();
        bytes.extend([0; 4]);
        bytes.extend(self.sector.number().to_le_bytes());
        let (sector, sectors, flags) = &self.range;
        for _ in 0..self.ranges & 3 {
            let sectors = match *sectors {
                Sectors::Few(count) => count.into(),
                Sectors::Any(count) => count,
            };
            bytes.extend(sector.number().to_le_bytes());
            bytes.extend(sectors.to_le_bytes());
            bytes.extend(u32::from(*flags).to_le_bytes());
        }
        if let Some(cut) = self.cut {
            bytes.truncate(cut.into());
        }
        bytes
    }
}

impl Sector {
    fn number(&self) -> u64 {
        match *self {
            Self::Inside(sector) => sector.into(),
            Self::Last(before) => u64::MAX - u64::from(before),
            Self::Any(sector) => sector,
        }
    }
}

const SECTORS: u64 = 256;
/// IN, OUT, SCSI_CMD, FLUSH, GET_ID, DISCARD, WRITE_ZEROES, SECURE_ERASE, ZONE_APPEND.
const KINDS: [u32; 9] = [0, 1, 2, 4, 8, 11, 13, 14, 15];
