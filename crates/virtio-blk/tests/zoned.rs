//! Host-managed zones.

mod common;

use std::fs::File;

use common::*;
use testkit::{Options, TestBus};
use virtio_blk::virtio_device::{Features, VirtioDevice};
use virtio_blk::{Blk, BlkError, BlkProps, Size, ZoneLayout, Zones};

/// Sectors of a zone, of which the last one is not written; the disk has eight.
const ZONE: u64 = 32;
const CAPACITY: u64 = 24;
/// The zones before this sector are conventional.
const SEQUENTIAL: u64 = 2 * ZONE;
const APPEND: u32 = 15;
const REPORT: u32 = 16;
const OPEN: u32 = 18;
const CLOSE: u32 = 20;
const FINISH: u32 = 22;
const RESET: u32 = 24;
const RESET_ALL: u32 = 26;
const INVALID: u8 = 3;
const UNALIGNED: u8 = 4;
const OPEN_RESOURCE: u8 = 5;
const ACTIVE_RESOURCE: u8 = 6;
const EMPTY: u8 = 1;
const IOPEN: u8 = 2;
const EOPEN: u8 = 3;
const CLOSED: u8 = 4;
const FULL: u8 = 14;
const F_ZONED: Features = Features::bit(17);

fn layout() -> ZoneLayout {
    ZoneLayout {
        size: ZONE * 512,
        capacity: CAPACITY * 512,
        conventional: 2,
        max_open: 2,
        max_active: 3,
    }
}

fn zones(record: Option<&File>) -> Zones {
    let record = record.map(|file| file.try_clone().unwrap());
    Zones::new(layout(), SECTORS * 512, record).unwrap()
}

fn disk(file: &File, zones: Zones) -> TestBus {
    let image = raw(file).discard(true);
    let device = Blk::zoned(&BlkProps::default(), image, zones).unwrap();
    started(device, Features::INDIRECT_DESC)
}

fn started(device: impl VirtioDevice + 'static, ring: Features) -> TestBus {
    let mut bus = TestBus::with(device, Options::default());
    bus.boot(Features::VERSION_1 | F_ZONED | F_FLUSH | ring);
    bus
}

/// Start, write pointer and state of a zone, and its type, by a report of one zone.
fn zone(bus: &mut TestBus, sector: u64) -> (u64, u64, u8, u8) {
    let answer = report(bus, sector, 1);
    let number = |at| u64::from_le_bytes(answer.data[at..at + 8].try_into().unwrap());
    assert_eq!((answer.status, number(0)), (OK, 1));
    (number(72), number(80), answer.data[89], answer.data[88])
}

fn state(bus: &mut TestBus, sector: u64) -> u8 {
    zone(bus, sector).2
}

fn report(bus: &mut TestBus, sector: u64, zones: u32) -> Answer {
    let header = header(REPORT, sector);
    Answer::of(bus.request(0, &[&header], &[64 + 64 * zones, 1]))
}

fn act(bus: &mut TestBus, kind: u32, sector: u64) -> u8 {
    request(bus, kind, sector, &[]).status
}

/// Its status, and the sector that it says.
fn append(bus: &mut TestBus, sector: u64, sectors: usize) -> (u8, u64) {
    let (header, data) = (header(APPEND, sector), pattern(sectors * SECTOR));
    let mut answer = Answer::of(bus.request(0, &[&header, &data], &[9]));
    if answer.status == OK {
        assert_eq!(answer.used, 9);
    }
    answer.data.resize(8, 0);
    (
        answer.status,
        u64::from_le_bytes(answer.data.try_into().unwrap()),
    )
}

fn put(bus: &mut TestBus, sector: u64, sectors: usize) -> u8 {
    write(bus, sector, &pattern(sectors * SECTOR)).status
}

#[test]
fn says_what_zones_it_has() {
    let device = Blk::zoned(&BlkProps::default(), raw(&image()), zones(None)).unwrap();
    let (features, bytes) = (device.info().features, device.config().snapshot());
    assert!(features.contains(F_ZONED));
    assert!(!features.intersects(Features::bit(13) | Features::bit(14)));
    let number = |at| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    assert_eq!((bytes.len(), number(92)), (96, 1));
    assert_eq!([72, 76, 80, 84, 88].map(number), [32, 2, 3, 24, 512]);
    let few = BlkProps::default().queue_size(4);
    let device = Blk::zoned(&few, raw(&image()), zones(None)).unwrap();
    assert_eq!(device.config().snapshot()[84], 16, "two pages");
}

#[test]
fn the_last_zone_ends_with_the_disk() {
    let (file, last) = (image(), SECTORS - ZONE);
    file.set_len((SECTORS - ZONE + 8) * 512).unwrap();
    let zones = Zones::new(layout(), (last + 8) * 512, None).unwrap();
    let mut bus = disk(&file, zones);
    assert_eq!(write(&mut bus, last, &pattern(9 * SECTOR)).status, IOERR);
    assert_eq!(write(&mut bus, last, &pattern(8 * SECTOR)).status, OK);
    assert_eq!(state(&mut bus, last), FULL);
    assert_eq!(read(&mut bus, last, 8 * 512).data, pattern(8 * SECTOR));
    assert_eq!(act(&mut bus, RESET, last), OK);
    assert_eq!(state(&mut bus, last), EMPTY);
}

#[test]
fn zones_that_do_not_fit_are_refused() {
    let blocks = BlkProps::default().logical_block_size(Size(8192));
    let short = image();
    short.set_len(SECTORS * 256).unwrap();
    for (props, file) in [(&blocks, &image()), (&BlkProps::default(), &short)] {
        let refused = Blk::zoned(props, raw(file), zones(None)).err().unwrap();
        assert!(matches!(refused, BlkError::Zones), "{refused}");
    }
}

#[test]
fn a_driver_must_know_zones_and_the_modern_interface() {
    for (wanted, accepted) in [
        (Features::VERSION_1, false),
        (Features::VERSION_1 | F_ZONED, true),
    ] {
        let device = Blk::zoned(&BlkProps::default(), raw(&image()), zones(None)).unwrap();
        assert_eq!(device.accept(wanted), accepted);
        let needs = device.info().dependencies;
        assert!(wanted.broken(needs).is_none());
        assert!(F_ZONED.broken(needs).is_some());
    }
}

#[test]
fn zones_are_reported_from_any_sector_on() {
    let mut bus = disk(&image(), zones(None));
    assert_eq!(zone(&mut bus, 5), (0, 0, 0, 1));
    assert_eq!(
        zone(&mut bus, SEQUENTIAL + 9),
        (SEQUENTIAL, SEQUENTIAL, EMPTY, 2)
    );
    let all = report(&mut bus, 0, 20);
    assert_eq!((all.status, all.used, all.data[0]), (OK, 64 * 9, 8));
    let capacities: Vec<u8> = (1..9).map(|zone| all.data[64 * zone]).collect();
    assert_eq!(capacities, [32, 32, 24, 24, 24, 24, 24, 24]);
    assert_eq!(report(&mut bus, SECTORS, 1).status, INVALID);
    assert_eq!(report(&mut bus, u64::MAX, 1).status, INVALID);
    let header = header(REPORT, 0);
    let none = Answer::of(bus.request(0, &[&header], &[64, 1]));
    assert_eq!((none.status, none.used, none.data[0]), (OK, 65, 0));
    let little = Answer::of(bus.request(0, &[&header], &[63, 1]));
    assert_eq!(little.status, IOERR);
}

#[test]
fn writes_go_to_the_write_pointer() {
    for ring in all_rings() {
        let device = Blk::zoned(&BlkProps::default(), raw(&image()), zones(None)).unwrap();
        let bus = &mut started(device, ring);
        assert_eq!(put(bus, SEQUENTIAL + 1, 1), UNALIGNED);
        assert_eq!(put(bus, SEQUENTIAL, 8), OK);
        assert_eq!(
            zone(bus, SEQUENTIAL),
            (SEQUENTIAL, SEQUENTIAL + 8, IOPEN, 2)
        );
        assert_eq!(put(bus, SEQUENTIAL, 8), UNALIGNED);
        assert_eq!(put(bus, SEQUENTIAL + 8, 17), INVALID, "beyond the capacity");
        assert_eq!(put(bus, SEQUENTIAL + 8, 16), OK);
        assert_eq!(state(bus, SEQUENTIAL), FULL);
        assert_eq!(put(bus, SEQUENTIAL + 24, 1), INVALID);
        assert_eq!(put(bus, ZONE + 7, 3), OK, "conventional");
        assert_eq!(put(bus, ZONE - 1, 2), OK, "conventional, in two");
        assert_eq!(put(bus, SEQUENTIAL - 1, 2), INVALID);
        assert_eq!(put(bus, SECTORS, 1), IOERR);
    }
}

#[test]
fn what_was_not_written_reads_as_zeroes() {
    let mut bus = disk(&image(), zones(None));
    assert_eq!(put(&mut bus, SEQUENTIAL, 3), OK);
    let answer = read(&mut bus, SEQUENTIAL, 8 * SECTOR);
    assert_eq!((answer.status, answer.used), (OK, 8 * 512 + 1));
    assert_eq!(answer.data[..3 * SECTOR], pattern(3 * SECTOR));
    assert!(answer.data[3 * SECTOR..].iter().all(|&byte| byte == 0));
    let answer = read(&mut bus, SEQUENTIAL + ZONE, SECTOR);
    assert_eq!((answer.status, answer.data), (OK, vec![0; SECTOR]));
    let whole = pattern(SECTORS as usize * SECTOR);
    assert_eq!(
        read(&mut bus, 3, SECTOR).data,
        whole[3 * SECTOR..4 * SECTOR]
    );
    assert_eq!(
        read(&mut bus, SEQUENTIAL + ZONE - 1, 2 * SECTOR).status,
        INVALID
    );
    assert_eq!(act(&mut bus, FINISH, SEQUENTIAL), OK);
    let finished = read(&mut bus, SEQUENTIAL + 2, 2 * SECTOR);
    assert_eq!(finished.data[..SECTOR], pattern(3 * SECTOR)[2 * SECTOR..]);
    assert_eq!(finished.data[SECTOR..], [0; SECTOR]);
}

#[test]
fn appends_say_where_they_went() {
    let mut bus = disk(&image(), zones(None));
    let bus = &mut bus;
    assert_eq!(append(bus, SEQUENTIAL, 4), (OK, SEQUENTIAL));
    assert_eq!(append(bus, SEQUENTIAL, 4), (OK, SEQUENTIAL + 4));
    assert_eq!(
        read(bus, SEQUENTIAL + 4, 4 * SECTOR).data,
        pattern(4 * SECTOR)
    );
    assert_eq!(
        append(bus, SEQUENTIAL + 8, 4).0,
        INVALID,
        "no start of a zone"
    );
    assert_eq!(append(bus, ZONE, 4).0, INVALID, "conventional");
    assert_eq!(
        append(bus, SEQUENTIAL, 17).0,
        INVALID,
        "beyond the capacity"
    );
    assert_eq!(
        append(bus, SEQUENTIAL, 25).0,
        INVALID,
        "more than may be appended"
    );
    assert_eq!(append(bus, SECTORS, 1).0, INVALID);
    let (header, data) = (header(APPEND, SEQUENTIAL), pattern(SECTOR));
    let wide = Answer::of(bus.request(0, &[&header, &data], &[16]));
    assert_eq!((wide.status, wide.used), (OK, 8), "as Linux has it");
    assert_eq!(wide.data[..8], (SEQUENTIAL + 8).to_le_bytes());
    let narrow = Answer::of(bus.request(0, &[&header, &data], &[8]));
    assert_eq!((narrow.status, narrow.used), (IOERR, 0));
    let part = Answer::of(bus.request(0, &[&header, &data[..100]], &[9]));
    assert_eq!(part.status, UNALIGNED);
    assert_eq!(zone(bus, SEQUENTIAL).1, SEQUENTIAL + 9);
}

#[test]
fn writes_of_parts_of_blocks_are_not_aligned() {
    let props = BlkProps::default().logical_block_size(Size(4096));
    let device = Blk::zoned(&props, raw(&image()), zones(None)).unwrap();
    let bus = &mut started(device, Features::NONE);
    assert_eq!(put(bus, SEQUENTIAL, 1), UNALIGNED);
    assert_eq!(put(bus, 0, 1), IOERR);
    assert_eq!(put(bus, SEQUENTIAL, 8), OK);
}

#[test]
fn zones_are_opened_closed_finished_and_reset() {
    let mut bus = disk(&image(), zones(None));
    let bus = &mut bus;
    for (kind, before, status, after) in [
        (CLOSE, EMPTY, INVALID, EMPTY),
        (OPEN, EMPTY, OK, EOPEN),
        (OPEN, EOPEN, OK, EOPEN),
        (CLOSE, EOPEN, OK, EMPTY),
        (FINISH, EMPTY, OK, FULL),
        (FINISH, FULL, OK, FULL),
        (OPEN, FULL, INVALID, FULL),
        (CLOSE, FULL, INVALID, FULL),
        (RESET, FULL, OK, EMPTY),
        (RESET, EMPTY, OK, EMPTY),
    ] {
        assert_eq!(state(bus, SEQUENTIAL), before);
        assert_eq!(act(bus, kind, SEQUENTIAL), status, "{kind} in {before}");
        assert_eq!(state(bus, SEQUENTIAL), after, "{kind} in {before}");
    }
    assert_eq!(put(bus, SEQUENTIAL, 1), OK);
    for (kind, after) in [
        (CLOSE, CLOSED),
        (CLOSE, CLOSED),
        (OPEN, EOPEN),
        (CLOSE, CLOSED),
        (FINISH, FULL),
    ] {
        assert_eq!(
            (act(bus, kind, SEQUENTIAL), state(bus, SEQUENTIAL)),
            (OK, after)
        );
    }
    for kind in [OPEN, CLOSE, FINISH, RESET] {
        assert_eq!(act(bus, kind, 0), INVALID, "conventional");
        assert_eq!(
            act(bus, kind, SEQUENTIAL + 1),
            INVALID,
            "no start of a zone"
        );
        assert_eq!(act(bus, kind, SECTORS), INVALID);
        assert_eq!(act(bus, kind, u64::MAX), INVALID);
    }
}

#[test]
fn there_are_so_many_open_and_active_zones() {
    let mut bus = disk(&image(), zones(None));
    let bus = &mut bus;
    let at = |zone: u64| SEQUENTIAL + zone * ZONE;
    assert_eq!((put(bus, at(0), 1), put(bus, at(1), 1)), (OK, OK));
    assert_eq!(put(bus, at(2), 1), OK, "another is closed for it");
    assert_eq!(
        [0, 1, 2].map(|zone| state(bus, at(zone))),
        [CLOSED, IOPEN, IOPEN]
    );
    assert_eq!(put(bus, at(3), 1), ACTIVE_RESOURCE);
    assert_eq!(append(bus, at(3), 1).0, ACTIVE_RESOURCE);
    assert_eq!(act(bus, OPEN, at(3)), ACTIVE_RESOURCE);
    assert_eq!(state(bus, at(3)), EMPTY);
    assert_eq!((act(bus, OPEN, at(1)), act(bus, OPEN, at(2))), (OK, OK));
    assert_eq!(put(bus, at(0), 1), UNALIGNED);
    assert_eq!(put(bus, at(0) + 1, 1), OPEN_RESOURCE);
    assert_eq!(act(bus, OPEN, at(0)), OPEN_RESOURCE);
    assert_eq!(act(bus, RESET_ALL, 0), OK);
    assert!([0, 1, 2].iter().all(|&zone| state(bus, at(zone)) == EMPTY));
    assert_eq!(put(bus, at(3), 1), OK);
}

#[test]
fn a_reset_gives_storage_back_and_spares_conventional_zones() {
    let file = image();
    let mut bus = disk(&file, zones(None));
    assert_eq!(act(&mut bus, RESET, SEQUENTIAL), OK);
    let mut expected = pattern(SECTORS as usize * SECTOR);
    let (start, len) = (SEQUENTIAL as usize * SECTOR, ZONE as usize * SECTOR);
    expected[start..start + len].fill(0);
    assert_eq!(contents(&file), expected);
    assert_eq!(act(&mut bus, RESET_ALL, 0), OK);
    expected[start..].fill(0);
    assert_eq!(contents(&file), expected);
}

#[test]
fn a_failed_write_leaves_the_write_pointer() {
    let (backend, script) = scripted(&image());
    let device = Blk::zoned(&BlkProps::default(), backend, zones(None)).unwrap();
    let mut bus = started(device, Features::NONE);
    for fault in [Fault::Error(28), Fault::Short(100), Fault::Refused] {
        script.fail([fault]);
        assert_eq!(put(&mut bus, SEQUENTIAL, 8), IOERR);
        assert_eq!(
            zone(&mut bus, SEQUENTIAL),
            (SEQUENTIAL, SEQUENTIAL, EMPTY, 2)
        );
        script.fail([fault]);
        assert_eq!(append(&mut bus, SEQUENTIAL, 8).0, IOERR);
    }
    assert_eq!(put(&mut bus, SEQUENTIAL, 8), OK);
}

#[test]
fn a_read_only_disk_only_reports() {
    let image = raw(&image()).read_only(true);
    let device = Blk::zoned(&BlkProps::default(), image, zones(None)).unwrap();
    let mut bus = started(device, Features::NONE);
    for kind in [OPEN, CLOSE, FINISH, RESET, RESET_ALL] {
        assert_eq!(act(&mut bus, kind, SEQUENTIAL), IOERR);
    }
    assert_eq!(append(&mut bus, SEQUENTIAL, 1).0, IOERR);
    assert_eq!(state(&mut bus, SEQUENTIAL), EMPTY);
}

#[test]
fn zones_outlive_the_device() {
    let (file, record) = (image(), tempfile::tempfile().unwrap());
    let mut bus = disk(&file, zones(Some(&record)));
    assert_eq!(put(&mut bus, SEQUENTIAL, 5), OK);
    assert_eq!(act(&mut bus, FINISH, SEQUENTIAL + ZONE), OK);
    assert_eq!(act(&mut bus, OPEN, SEQUENTIAL + 2 * ZONE), OK);
    assert_eq!(request(&mut bus, FLUSH, 0, &[]).status, OK);
    drop(bus);
    let mut bus = disk(&file, zones(Some(&record)));
    let bus = &mut bus;
    assert_eq!(
        zone(bus, SEQUENTIAL),
        (SEQUENTIAL, SEQUENTIAL + 5, CLOSED, 2)
    );
    assert_eq!(state(bus, SEQUENTIAL + ZONE), FULL);
    assert_eq!(state(bus, SEQUENTIAL + 2 * ZONE), EMPTY);
    assert_eq!(read(bus, SEQUENTIAL, 5 * SECTOR).data, pattern(5 * SECTOR));
}

#[test]
fn zones_are_in_the_saved_state() {
    let device = || Blk::zoned(&BlkProps::default(), raw(&image()), zones(None)).unwrap();
    let (mut one, plain) = (
        device(),
        Blk::new(&BlkProps::default(), raw(&image())).unwrap(),
    );
    let empty = one.save().unwrap();
    let mut bus = started(device(), Features::NONE);
    assert_eq!(put(&mut bus, SEQUENTIAL, 5), OK);
    one.restore(&empty).unwrap();
    let refused = one.restore(&plain.save().unwrap()).unwrap_err().to_string();
    assert!(refused.contains("other zones"), "{refused}");
    let mut plain = plain;
    let refused = plain.restore(&empty).unwrap_err().to_string();
    assert!(
        refused.contains("more than that of a block device"),
        "{refused}"
    );
}

#[test]
fn other_disks_know_no_such_requests() {
    let mut bus = boot(&BlkProps::default(), raw(&image()));
    for kind in [REPORT, OPEN, CLOSE, FINISH, RESET, RESET_ALL] {
        assert_eq!(act(&mut bus, kind, 0), UNSUPP);
    }
    assert_eq!(append(&mut bus, 0, 1).0, UNSUPP);
}
