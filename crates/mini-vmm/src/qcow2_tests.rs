use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use imago::FormatCreateBuilder;
use testkit::{Options, Response, TestBus};
use virtio_blk::{Blk, BlkProps};
use virtio_device::Features;

use super::*;

const SIZE: u64 = 4 << 20;
const OK: u8 = 0;
const IN: u32 = 0;
const OUT: u32 = 1;
const FLUSH: u32 = 4;
const DISCARD: u32 = 11;
const WRITE_ZEROES: u32 = 13;

/// An empty image, whose header names `backing` with its format.
fn image(backing: Option<(&str, &str)>) -> File {
    let file = tempfile::tempfile().unwrap();
    let storage = file::File::try_from(file.try_clone().unwrap()).unwrap();
    let mut builder = Qcow2::<file::File>::create_builder(storage).size(SIZE);
    if let Some((name, format)) = backing {
        builder = builder.backing(name.to_owned(), format.to_owned());
    }
    builder.create().unwrap();
    file
}

/// Another description of the same file, because locks are those of descriptions.
fn open_again(file: &File) -> File {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let mut options = File::options();
    options.read(true).write(true).open(path).unwrap()
}

fn boot(image: Qcow2Image) -> TestBus {
    let device = Blk::new(&BlkProps::default(), image).unwrap();
    let mut bus = TestBus::with(device, Options::default());
    let offered = bus.core().offered();
    let features = Features::from_bits(offered.bits() & 0xff_ffff);
    bus.boot(Features::VERSION_1 | features);
    bus
}

fn request(bus: &mut TestBus, kind: u32, sector: u64, data: &[u8], room: u32) -> Response {
    let header = [u64::from(kind).to_le_bytes(), sector.to_le_bytes()].concat();
    let writable = [room, 1];
    let writable = &writable[usize::from(room == 0)..];
    match data {
        [] => bus.request(0, &[&header], writable),
        _ => bus.request(0, &[&header, data], writable),
    }
}

fn read(bus: &mut TestBus, sector: u64, len: u32) -> Vec<u8> {
    let mut bytes = request(bus, IN, sector, &[], len).bytes;
    assert_eq!(bytes.pop(), Some(OK), "read of sector {sector}");
    bytes
}

fn succeed(bus: &mut TestBus, kind: u32, sector: u64, data: &[u8]) {
    let answer = request(bus, kind, sector, data, 0);
    assert_eq!(answer.bytes, [OK], "request {kind}");
}

fn range(sector: u64, sectors: u32) -> Vec<u8> {
    [sector.to_le_bytes(), u64::from(sectors).to_le_bytes()].concat()
}

fn error(result: io::Result<Qcow2Image>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn what_is_written_is_there_when_it_is_opened_again() {
    let file = image(None);
    let data: Vec<u8> = (0..PIECE + 4096).map(|i| (i / 7) as u8).collect();
    let image = Qcow2Image::open(open_again(&file), false, None).unwrap();
    assert_eq!(image.size(), SIZE);
    let mut bus = boot(image.discard(true));
    succeed(&mut bus, OUT, 8, &data);
    assert_eq!(read(&mut bus, 8, data.len() as u32), data);
    succeed(&mut bus, WRITE_ZEROES, 0, &range(8, 8));
    succeed(&mut bus, DISCARD, 0, &range(128, 128));
    succeed(&mut bus, FLUSH, 0, &[]);
    drop(bus);
    let image = Qcow2Image::open(open_again(&file), true, None).unwrap();
    let mut bus = boot(image);
    assert_eq!(read(&mut bus, 0, 8192), [0; 8192]);
    assert_eq!(read(&mut bus, 128, 65536), [0; 65536]);
    assert_eq!(read(&mut bus, 256, 4096), data[126976..131072]);
    let refused = request(&mut bus, OUT, 0, &[0; 512], 0);
    assert_eq!(refused.bytes, [1], "read-only");
}

#[test]
fn a_flushed_image_needs_no_orderly_end() {
    let file = image(None);
    let mut bus = boot(Qcow2Image::open(open_again(&file), false, None).unwrap());
    succeed(&mut bus, OUT, 100, &[7; 4096]);
    succeed(&mut bus, FLUSH, 0, &[]);
    let mut copy = tempfile::tempfile().unwrap();
    io::copy(&mut open_again(&file), &mut copy).unwrap();
    let mut bus = boot(Qcow2Image::open(copy, false, None).unwrap());
    assert_eq!(read(&mut bus, 100, 4096), [7; 4096]);
}

#[test]
fn a_backing_image_is_opened_only_where_it_is_asked_for() {
    let base = tempfile::tempfile().unwrap();
    base.write_all_at(&[3; 8192], 0).unwrap();
    base.set_len(SIZE).unwrap();
    let file = image(Some(("/etc/passwd", "raw")));
    let alone = error(Qcow2Image::open(open_again(&file), false, None));
    assert!(
        alone.contains("/etc/passwd") && alone.contains("backing.file.filename"),
        "{alone}"
    );
    let backing = Some(Backing::Raw(open_again(&base)));
    let mut bus = boot(Qcow2Image::open(open_again(&file), false, backing).unwrap());
    assert_eq!(read(&mut bus, 0, 8192), [3; 8192]);
    succeed(&mut bus, OUT, 0, &[4; 512]);
    let both = [[4; 512].as_slice(), &[3; 512]].concat();
    assert_eq!(read(&mut bus, 0, 1024), both);
    let mut below = [0; 512];
    base.read_exact_at(&mut below, 0).unwrap();
    assert_eq!(below, [3; 512], "the base is never written");
}

/// The user's word counts, whatever the image says.
#[test]
fn an_image_is_above_what_it_is_opened_with() {
    let base = tempfile::tempfile().unwrap();
    base.write_all_at(&vec![3; SIZE as usize], 0).unwrap();
    let middle = image(None);
    let raw = || Backing::Raw(open_again(&base));
    {
        let image = Qcow2Image::open(open_again(&middle), false, Some(raw())).unwrap();
        let mut bus = boot(image);
        succeed(&mut bus, OUT, 0, &[4; 512]);
        succeed(&mut bus, FLUSH, 0, &[]);
    }
    let two = Backing::Qcow2(open_again(&middle), Some(Box::new(raw())));
    let named = Some(("/etc/passwd", "raw"));
    for (names, backing, expected) in [
        (None, two, [4, 3]),
        (None, raw(), [3, 3]),
        (named, Backing::Zeroes, [0, 0]),
        (named, raw(), [3, 3]),
    ] {
        let image = Qcow2Image::open(image(names), false, Some(backing)).unwrap();
        let read = read(&mut boot(image), 0, 1024);
        assert_eq!([read[0], read[512]], expected, "{names:?}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let raw = tempfile::tempfile().unwrap();
    raw.set_len(SIZE).unwrap();
    assert!(Qcow2Image::open(open_again(&raw), false, None).is_err());
    let file = image(None);
    let first = Qcow2Image::open(open_again(&file), false, None).unwrap();
    let second = Qcow2Image::open(open_again(&file), false, None).unwrap_err();
    assert_eq!(second.kind(), ErrorKind::WouldBlock);
    assert!(
        first.claim(true).is_err(),
        "its tables are shared with nobody"
    );
    let nested = image(Some(("base", "qcow2")));
    let below = Some(Backing::Qcow2(image(Some(("more", "raw"))), None));
    let nested = error(Qcow2Image::open(nested, false, below));
    assert!(nested.contains("'more'"), "{nested}");
}

#[test]
fn an_image_grows_with_zeroes_and_shrinks() {
    let under = tempfile::tempfile().unwrap();
    under.write_all_at(&vec![7; SIZE as usize], 0).unwrap();
    for backing in [None, Some(Backing::Raw(under))] {
        let names = backing.as_ref().map(|_| ("under", "raw"));
        let file = image(names);
        let disk = Qcow2Image::open(file.try_clone().unwrap(), false, backing).unwrap();
        let half = SIZE / 2 + 512;
        let mut bus = boot(disk.clone());
        succeed(&mut bus, OUT, half / 512, &[9; 512]);
        disk.resize(half).unwrap();
        assert_eq!(disk.size(), half);
        disk.resize(2 * SIZE).unwrap();
        assert_eq!(disk.size(), 2 * SIZE);
        for at in [half, SIZE - 512] {
            assert_eq!(read(&mut bus, at / 512, 512), [0; 512], "{at}");
        }
        drop((bus, disk));
        let backing = names.map(|_| Backing::Raw(tempfile::tempfile().unwrap()));
        let again = Qcow2Image::open(file, false, backing).unwrap();
        assert_eq!(again.size(), 2 * SIZE);
    }
}

/// imago would take the header's place for free, and recurse until the stack is gone.
#[test]
fn an_image_that_does_not_count_its_header_is_not_written() {
    // The first entry of the table of reference counts; the table's number of clusters.
    for (at, length) in [(1 << 16, 8), (56, 4)] {
        let file = image(None);
        file.write_all_at(&[0; 8][..length], at).unwrap();
        let refused = error(Qcow2Image::open(open_again(&file), false, None));
        assert!(refused.contains("leave out its own header"), "{refused}");
        let mut bus = boot(Qcow2Image::open(open_again(&file), true, None).unwrap());
        assert_eq!(read(&mut bus, 0, 4096), [0; 4096], "it can be read");
    }
}

/// Numbers that look random, and are the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (self.0 >> 33) % end
    }
}

/// Does something to the reference counts, the tables and the data of an image.
fn spoil(file: &File, numbers: &mut Numbers) {
    let clusters = file.metadata().unwrap().len() >> 16;
    for _ in 0..=numbers.below(8) {
        // Most of a table is empty.
        let at = (1 + numbers.below(clusters)) << 16 | numbers.below(16) << 3;
        let bits = 1u64 << numbers.below(64) | 1u64 << numbers.below(64);
        file.write_all_at(&bits.to_be_bytes(), at).unwrap();
    }
}

#[test]
fn an_image_that_is_spoiled_fails_requests_and_nothing_else() {
    let mut statuses = [0; 2];
    for seed in 0..60 {
        let (file, mut numbers) = (image(None), Numbers(seed));
        let mut bus = boot(Qcow2Image::open(open_again(&file), false, None).unwrap());
        for sector in [0, 1000, 5000] {
            succeed(&mut bus, OUT, sector, &[7; 4096]);
        }
        succeed(&mut bus, FLUSH, 0, &[]);
        drop(bus);
        if numbers.below(2) == 0 {
            spoil(&file, &mut numbers);
        }
        let Ok(image) = Qcow2Image::open(open_again(&file), false, None) else {
            continue;
        };
        // What opens has a size of its own, perhaps one that no disk has.
        let Ok(device) = Blk::new(&BlkProps::default(), image.discard(true)) else {
            continue;
        };
        let mut bus = TestBus::with(device, Options::default());
        bus.boot(Features::VERSION_1 | Features::bit(13) | Features::bit(14));
        match numbers.below(4) {
            0 => file.set_len(numbers.below(16) << 16).unwrap(),
            _ => spoil(&file, &mut numbers),
        }
        for _ in 0..24 {
            let sector = numbers.below(8000);
            let status = match numbers.below(5) {
                0 => request(&mut bus, OUT, sector, &[9; 4096], 0).bytes,
                1 => request(&mut bus, FLUSH, 0, &[], 0).bytes,
                2 => request(&mut bus, DISCARD, 0, &range(sector, 128), 0).bytes,
                3 => request(&mut bus, WRITE_ZEROES, 0, &range(sector, 128), 0).bytes,
                _ => request(&mut bus, IN, sector, &[], 4096).bytes,
            };
            statuses[usize::from(*status.last().unwrap())] += 1;
        }
        assert!(!bus.needs_reset(), "seed {seed}");
    }
    assert!(statuses.iter().all(|&count| count > 50), "{statuses:?}");
}
