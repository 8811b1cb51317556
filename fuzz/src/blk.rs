//! The block device.

use std::fs::File;

use arbitrary::{Arbitrary, Unstructured};
use testkit::TestBus;
use virtio_blk::guest_io::Mode;
use virtio_blk::{Blk, BlkProps, RawImage, Throttled, ZoneLayout, Zones};

use crate::backend::{Fault, Reins, Slow};
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
    reins: Reins,
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
        let file = memory();
        file.set_len(SECTORS * 512).expect("some sectors");
        let reins = Reins::new(look.order & 0x10 != 0);
        Self { look, file, reins }
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
            .size_max(virtio_blk::Size(if order & 0x40 == 0 { 0 } else { 4096 }))
            .secure_erase(order & 0x20 != 0)
            .pre_eol_info(u16::from(order >> 2 & 3))
    }

    fn is_zoned(&self) -> bool {
        self.look.order & 0x80 != 0
    }

    /// Asks for all zones, of which no more than may be are open and active.
    fn check_zones(bus: &mut TestBus) {
        let report = bus.request(0, &[&[&[16], &[0; 15][..]].concat()], &[64 + 64 * 8, 1]);
        let states: Vec<_> = (1..9).map(|zone| report.bytes[64 * zone + 25]).collect();
        let count = |states_of: &[u8]| {
            states
                .iter()
                .filter(|state| states_of.contains(state))
                .count()
        };
        assert_eq!((report.bytes[0], report.bytes[576]), (8, 0));
        assert!(count(&[2, 3]) <= 2 && count(&[2, 3, 4]) <= 3, "{states:?}");
    }
}

impl Subject for Disk {
    type Device = Blk<Throttled<Slow>>;
    type Words = Header;
    type Host = Event;

    fn device(&mut self) -> Blk<Throttled<Slow>> {
        let image = RawImage::new(self.file.try_clone().expect("a descriptor"));
        let image = image.expect("an image").mode(Mode::Sync).discard(true);
        let image = image
            .read_only(self.look.read_only)
            .write_through(self.look.write_through);
        let backend = self.reins.disk(image);
        match self.is_zoned() {
            true => {
                let zones = Zones::new(ZONES, SECTORS * 512, Some(memory()));
                Blk::zoned(&self.props(), backend, zones.expect("zones")).expect("a zoned disk")
            }
            false => Blk::new(&self.props(), backend).expect("a disk"),
        }
    }

    fn words(&self, header: Header) -> Vec<u8> {
        header.bytes()
    }

    fn host(&mut self, event: Event) {
        match event {
            Event::Hold => self.reins.hold(),
            Event::Release => self.reins.let_go(),
            Event::Fault(fault) => self.reins.fail(fault),
        }
    }

    fn release(&mut self) {
        self.reins.release();
    }

    fn repair(&mut self) {
        self.reins.repair();
    }

    fn probe(&mut self, bus: &mut TestBus) {
        self.repair();
        let last = bus.core().queue_count() - 1;
        for queue in [0, last] {
            let response = bus.request(queue, &[&[0; 16]], &[4096, 1]);
            assert_eq!((response.len, response.bytes[4096]), (4097, 0));
        }
        if self.is_zoned() {
            Self::check_zones(bus);
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

fn memory() -> File {
    let file = rustix::fs::memfd_create("disk", rustix::fs::MemfdFlags::CLOEXEC);
    File::from(file.expect("a file in memory"))
}

const SECTORS: u64 = 256;
/// Of a zoned disk, which has eight.
const ZONES: ZoneLayout = ZoneLayout {
    size: 32 * 512,
    capacity: 24 * 512,
    conventional: 1,
    max_open: 2,
    max_active: 3,
};
/// IN, OUT, SCSI_CMD, FLUSH, GET_ID, DISCARD, WRITE_ZEROES, SECURE_ERASE, ZONE_APPEND, GET_LIFETIME,
/// and what there is for zones: report, open, close, finish, reset, reset all.
const KINDS: [u32; 16] = [0, 1, 2, 4, 8, 11, 13, 14, 15, 10, 16, 18, 20, 22, 24, 26];
