//! Zones beside the storage that they divide: layouts, records and saved states.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;

use guest_io::FileRange;
use guest_io::block::{ZoneAction, ZoneLayout, ZoneState, Zones};

const LAYOUT: ZoneLayout = ZoneLayout {
    size: 4096,
    capacity: 3072,
    conventional: 1,
    max_open: 0,
    max_active: 2,
};
const DISK: u64 = 4 * 4096;

fn zones(record: &File) -> Zones {
    Zones::new(LAYOUT, DISK, record.try_clone().ok()).unwrap()
}

fn refusal(layout: ZoneLayout, size: u64, record: Option<&File>) -> ErrorKind {
    let record = record.map(|file| file.try_clone().unwrap());
    Zones::new(layout, size, record).unwrap_err().kind()
}

fn write(zones: &Zones, offset: u64, len: u64) {
    let range = FileRange::new(offset, len).unwrap();
    zones.write(range).unwrap();
    zones.written(range, true).unwrap();
}

fn found(zones: &Zones) -> Vec<(ZoneState, u64)> {
    let zones = (0..zones.count()).map(|index| zones.zone(index).unwrap());
    zones
        .map(|zone| (zone.state, zone.write_pointer - zone.start))
        .collect()
}

#[test]
fn impossible_layouts_are_refused() {
    let bad = |change: &dyn Fn(&mut ZoneLayout), size| {
        let mut layout = LAYOUT;
        change(&mut layout);
        assert_eq!(refusal(layout, size, None), ErrorKind::InvalidInput);
    };
    bad(&|layout| layout.size = 0, DISK);
    bad(&|layout| layout.size = 256, DISK);
    bad(&|layout| layout.size = 5120, 4 * 5120);
    bad(&|layout| layout.capacity = 0, DISK);
    bad(&|layout| layout.capacity = 1000, DISK);
    bad(&|layout| layout.capacity = 4608, DISK);
    bad(&|layout| layout.conventional = 5, DISK);
    bad(&|_| {}, 0);
    bad(&|_| {}, DISK + 256);
    bad(&|_| {}, 65537 * 4096);
    bad(&|_| {}, u64::MAX - 4095);
}

#[test]
fn a_record_keeps_write_pointers_and_closes_zones() {
    let record = tempfile::tempfile().unwrap();
    let all = zones(&record);
    write(&all, 4096, 512);
    assert!(all.act(ZoneAction::Open, 8192).unwrap().is_none());
    all.act(ZoneAction::Finish, 12288).unwrap();
    all.sync().unwrap();
    drop(all);
    let expected = [
        (ZoneState::NotWritePointer, 0),
        (ZoneState::Closed, 512),
        (ZoneState::Empty, 0),
        (ZoneState::Full, 0),
    ];
    assert_eq!(found(&zones(&record)), expected);
    zones(&record).reset_all().unwrap();
    assert!(
        found(&zones(&record))[1..]
            .iter()
            .all(|zone| *zone == (ZoneState::Empty, 0))
    );
}

#[test]
fn records_of_other_zones_are_refused() {
    let record = tempfile::tempfile().unwrap();
    drop(zones(&record));
    for layout in [
        ZoneLayout {
            size: 8192,
            ..LAYOUT
        },
        ZoneLayout {
            capacity: 4096,
            ..LAYOUT
        },
        ZoneLayout {
            conventional: 0,
            ..LAYOUT
        },
    ] {
        assert_eq!(refusal(layout, DISK, Some(&record)), ErrorKind::InvalidData);
    }
    assert_eq!(
        refusal(LAYOUT, 2 * DISK, Some(&record)),
        ErrorKind::InvalidData
    );
    let more_open = ZoneLayout {
        max_open: 9,
        ..LAYOUT
    };
    assert!(Zones::new(more_open, DISK, record.try_clone().ok()).is_ok());
    for (at, byte) in [(0, b'z'), (47, 4), (47, 77), (40, 1)] {
        let mut old = [0];
        record.read_exact_at(&mut old, at).unwrap();
        record.write_all_at(&[byte], at).unwrap();
        assert_eq!(
            refusal(LAYOUT, DISK, Some(&record)),
            ErrorKind::InvalidData,
            "{at}"
        );
        record.write_all_at(&old, at).unwrap();
    }
    record.set_len(60).unwrap();
    assert_eq!(refusal(LAYOUT, DISK, Some(&record)), ErrorKind::InvalidData);
}

#[test]
fn a_record_is_not_shared() {
    let directory = tempfile::tempdir().unwrap();
    let open = || {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        options.open(directory.path().join("record")).unwrap()
    };
    let held = zones(&open());
    assert_eq!(refusal(LAYOUT, DISK, Some(&open())), ErrorKind::WouldBlock);
    drop(held);
    drop(zones(&open()));
}

#[test]
fn saved_states_are_checked() {
    let one = Zones::new(LAYOUT, DISK, None).unwrap();
    write(&one, 4096, 512);
    one.act(ZoneAction::Open, 8192).unwrap();
    let saved = one.save();
    let other = Zones::new(LAYOUT, DISK, None).unwrap();
    other.restore(&saved).unwrap();
    assert_eq!(found(&other), found(&one));
    for (at, byte) in [(7, 1), (8, 1), (15, 0), (15, 1), (15, 9), (9, 12), (31, 2)] {
        let mut bad = saved.clone();
        bad[at] = byte;
        let error = other.restore(&bad).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{at} {byte}");
    }
    assert!(other.restore(&saved[1..]).is_err() && other.restore(&[]).is_err());
    assert_eq!(found(&other), found(&one), "nothing has changed");
}

#[test]
fn only_the_last_write_gives_its_place_back() {
    let zones = Zones::new(LAYOUT, DISK, None).unwrap();
    let ranges = [zones.append(4096, 512), zones.append(4096, 1024)].map(Result::unwrap);
    zones.written(ranges[0], false).unwrap();
    assert_eq!(found(&zones)[1], (ZoneState::ImplicitlyOpen, 1536));
    zones.written(ranges[1], false).unwrap();
    assert_eq!(found(&zones)[1], (ZoneState::ImplicitlyOpen, 512));
    let last = zones.append(4096, 2560).unwrap();
    zones.written(last, false).unwrap();
    assert_eq!(found(&zones)[1], (ZoneState::Full, 3072));
}
