//! What a disk does besides reading and writing.

mod common;

use std::sync::Arc;

use common::*;
use scsi_target::{Identity, Kind, LogicalUnit, Setup};
use testkit::TestBus;

fn vital(bus: &mut TestBus, page: u8) -> Vec<u8> {
    let answer = command(bus, &[0x12, 1, page, 0, 255, 0], &[], 255);
    let len = u16::from_be_bytes([answer.good().data[2], answer.data[3]]);
    assert_eq!(answer.residual, 255 - 4 - u32::from(len));
    answer.data[4..4 + usize::from(len)].to_vec()
}

fn with(setup: Setup) -> TestBus {
    let scsi = virtio_scsi::Scsi::new(&Default::default()).unwrap();
    let unit = LogicalUnit::new(setup, raw(&image())).unwrap();
    scsi.handle().add(at(1, 0), Arc::new(unit)).unwrap();
    let mut bus = TestBus::new(scsi);
    bus.boot(virtio_scsi::virtio_device::Features::VERSION_1);
    settle(&mut bus, 1, 0);
    bus
}

#[test]
fn vital_product_data_says_who_and_how_large() {
    let mut bus = with(Setup {
        identity: Identity {
            serial: Some("serial-1".into()),
            wwn: 0x5000_c500_1234_5678,
            ..Identity::default()
        },
        logical_block: 4096,
        max_unmap: 1 << 20,
        rotation_rate: 1,
        ..Setup::default()
    });
    assert_eq!(vital(&mut bus, 0), [0, 0x80, 0x83, 0xb0, 0xb1, 0xb2]);
    assert_eq!(vital(&mut bus, 0x80), b"serial-1");
    let names = vital(&mut bus, 0x83);
    assert_eq!(names[..4], [2, 0, 0, 8]);
    assert_eq!(names[12..16], [1, 3, 0, 8]);
    assert_eq!(names[16..24], 0x5000_c500_1234_5678_u64.to_be_bytes());
    let limits = vital(&mut bus, 0xb0);
    assert_eq!(limits.len(), 0x3c);
    assert_eq!(limits[16..20], 256_u32.to_be_bytes(), "blocks of an UNMAP");
    assert_eq!(vital(&mut bus, 0xb1)[..2], [0, 1]);
    assert_eq!(vital(&mut bus, 0xb2)[1], 0xe0);
    let none = command(&mut bus, &[0x12, 1, 0xb9, 0, 255, 0], &[], 255);
    assert_eq!(none.refused(), (5, 0x2400));
}

#[test]
fn mode_pages_change_what_they_say_they_can() {
    let file = image();
    let (mut bus, _) = ready(&file);
    let sense = |control: u8| [0x1a, 8, control << 6 | 8, 0, 255, 0];
    let current = command(&mut bus, &sense(0), &[], 255);
    let page = &current.good().data[4..24];
    assert_eq!((page[0], page[1], page[2]), (8, 18, 4));
    assert_eq!(command(&mut bus, &sense(1), &[], 255).good().data[6], 4);
    assert_eq!(
        command(&mut bus, &sense(3), &[], 255).refused(),
        (5, 0x3900)
    );
    let mut list = vec![0; 4];
    list.extend(page);
    list[6] = 0;
    command(&mut bus, &[0x15, 0x10, 0, 0, 24, 0], &list, 0).good();
    assert_eq!(command(&mut bus, &sense(0), &[], 255).data[6], 0, "WCE");
    assert_eq!(
        command(&mut bus, &sense(2), &[], 255).data[6],
        4,
        "the default"
    );
    list[8] = 1;
    let bad = command(&mut bus, &[0x15, 0x10, 0, 0, 24, 0], &list, 0);
    assert_eq!(bad.refused(), (5, 0x2600));
    // Sense data in descriptor format from here on.
    let control = [0, 0, 0, 0, 0x0a, 10, 4, 0x10, 0, 0, 0, 0, 0, 0, 0, 0];
    command(&mut bus, &[0x15, 0x10, 0, 0, 16, 0], &control, 0).good();
    let far = command(&mut bus, &transfer16(0x88, 0, 1 << 40, 1), &[], 512);
    assert_eq!((far.refused(), far.sense[0]), ((5, 0x2100), 0x72));
    assert_eq!(far.sense[12..20], (1_u64 << 40).to_be_bytes());
}

#[test]
fn bug_59_a_mode_page_is_as_long_as_it_says() {
    let (mut bus, _) = ready(&image());
    let all = command(
        &mut bus,
        &[0x5a, 8, 0x3f, 0xff, 0, 0, 0, 0, 255, 0],
        &[],
        255,
    );
    let data = &all.good().data;
    let len = usize::from(u16::from_be_bytes([data[0], data[1]])) + 2;
    assert_eq!(all.residual as usize, 255 - len);
    let mut pages = &data[8..len];
    let mut codes = Vec::new();
    while let [code, length, rest @ ..] = pages {
        codes.push(*code);
        pages = &rest[usize::from(*length)..];
    }
    assert_eq!(codes, [1, 8, 0x0a]);
    for room in 0..len as u8 {
        let part = command(&mut bus, &[0x5a, 8, 0x3f, 0, 0, 0, 0, 0, room, 0], &[], 255);
        assert_eq!(part.good().data[..room.into()], data[..room.into()]);
        assert_eq!(part.used, 108 + u32::from(room));
    }
}

#[test]
fn bug_62_lists_that_are_cut_off_are_refused() {
    let (mut bus, _) = ready(&image());
    for len in 1..8_u8 {
        let cdb = [0x42, 0, 0, 0, 0, 0, 0, 0, len, 0];
        assert_eq!(command(&mut bus, &cdb, &[0; 8], 0).refused(), (5, 0x1a00));
    }
    for len in 1..24_u8 {
        let cdb = [0x5f, 0, 0, 0, 0, 0, 0, 0, len, 0];
        assert_eq!(command(&mut bus, &cdb, &[0; 24], 0).refused(), (5, 0x1a00));
    }
    for len in 1..4_u8 {
        let cdb = [0x15, 0x10, 0, 0, len, 0];
        assert_eq!(command(&mut bus, &cdb, &[0; 4], 0).refused(), (5, 0x1a00));
    }
}

fn unmap(ranges: &[(u64, u32)]) -> Vec<u8> {
    let len = ranges.len() as u16 * 16;
    let mut list = (len + 6).to_be_bytes().to_vec();
    list.extend(len.to_be_bytes());
    list.extend([0; 4]);
    for (lba, blocks) in ranges {
        list.extend(lba.to_be_bytes());
        list.extend(blocks.to_be_bytes());
        list.extend([0; 4]);
    }
    list
}

#[test]
fn unmap_is_all_or_nothing() {
    let file = image();
    let (mut bus, _) = ready(&file);
    let send = |bus: &mut TestBus, list: &[u8]| {
        let cdb = [0x42, 0, 0, 0, 0, 0, 0, 0, list.len() as u8, 0];
        command(bus, &cdb, list, 0)
    };
    let bad = send(&mut bus, &unmap(&[(8, 8), (u64::MAX - 3, 8)]));
    assert_eq!(bad.refused(), (5, 0x2100));
    assert_eq!(contents(&file, 8 * 512, 512), pattern(9 * 512)[8 * 512..]);
    send(&mut bus, &unmap(&[(8, 8), (32, 8)])).good();
    assert_eq!(contents(&file, 8 * 512, 4096), [0; 4096]);
    assert_eq!(contents(&file, 32 * 512, 4096), [0; 4096]);
    send(&mut bus, &unmap(&[])).good();
}

#[test]
fn write_same_repeats_a_block() {
    let file = image();
    let (mut bus, _) = ready(&file);
    let mut cdb = transfer10(0x41, 2, 7);
    command(&mut bus, &cdb, &[0xab; 512], 0).good();
    assert_eq!(contents(&file, 1024, 7 * 512), [0xab; 7 * 512]);
    assert_eq!(contents(&file, 9 * 512, 512), pattern(10 * 512)[9 * 512..]);
    command(&mut bus, &cdb, &[0; 512], 0).good();
    assert_eq!(contents(&file, 1024, 7 * 512), [0; 7 * 512]);
    // NDOB: zeroes without data.
    command(&mut bus, &transfer16(0x93, 1, 9, 2), &[], 0).good();
    assert_eq!(contents(&file, 9 * 512, 1024), [0; 1024]);
    let mut bare = transfer10(0x41, 11, 2);
    bare[1] = 1;
    command(&mut bus, &bare, &[], 0).good();
    assert_eq!(contents(&file, 11 * 512, 1024), [0; 1024]);
    cdb[8] = 0;
    assert_eq!(command(&mut bus, &cdb, &[0; 512], 0).refused(), (5, 0x2400));
}

#[test]
fn verify_and_compare_and_write_look_at_the_data() {
    let file = image();
    let (mut bus, _) = ready(&file);
    let verify = |bytchk: u8| {
        let mut cdb = transfer10(0x2f, 4, 2);
        cdb[1] = bytchk << 1;
        cdb
    };
    command(&mut bus, &verify(0), &[], 0).good();
    let same = pattern(6 * 512)[4 * 512..].to_vec();
    command(&mut bus, &verify(1), &same, 0).good();
    let mut other = same.clone();
    other[700] ^= 1;
    let answer = command(&mut bus, &verify(1), &other, 0);
    assert_eq!(answer.refused(), (0xe, 0x1d00));
    assert_eq!(answer.sense[3..7], 700_u32.to_be_bytes());

    let mut cdb = transfer16(0x89, 0, 4, 0);
    cdb[13] = 2;
    let new = [0x77; 1024];
    let answer = command(&mut bus, &cdb, &[&other[..], &new].concat(), 0);
    assert_eq!(answer.refused(), (0xe, 0x1d00));
    assert_eq!(contents(&file, 2048, 1024), same);
    let answer = command(&mut bus, &cdb, &[&same[..], &new].concat(), 0);
    assert_eq!(answer.good().residual, 0);
    assert_eq!(contents(&file, 2048, 1024), new);
}

#[test]
fn what_is_supported_is_told() {
    let (mut bus, _) = ready(&image());
    let ask = |options: u8, code: u8, action: u8| {
        [0xa3, 0x0c, options, code, 0, action, 0, 0, 1, 0, 0, 0]
    };
    let one = command(&mut bus, &ask(1, 0x28, 0), &[], 256);
    assert_eq!(one.good().data[..5], [0, 3, 0, 10, 0x28]);
    let none = command(&mut bus, &ask(1, 0xfe, 0), &[], 256);
    assert_eq!(none.good().data[..2], [0, 1]);
    let action = command(&mut bus, &ask(2, 0x9e, 0x10), &[], 256);
    assert_eq!(action.good().data[..6], [0, 3, 0, 16, 0x9e, 0x10]);
    assert_eq!(
        command(&mut bus, &ask(1, 0x9e, 0), &[], 256).refused(),
        (5, 0x2400)
    );
    let all = command(
        &mut bus,
        &[0xa3, 0x0c, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0],
        &[],
        2048,
    );
    let len = u32::from_be_bytes(all.good().data[..4].try_into().unwrap()) as usize;
    assert!(len.is_multiple_of(8) && len > 200, "{len}");
    // What it says it supports is not an unknown operation code.
    let codes: Vec<u8> = all.data[4..4 + len].chunks(8).map(|row| row[0]).collect();
    for code in codes {
        let mut cdb = [0; 16];
        (cdb[0], cdb[15]) = (code, 0);
        let answer = command(&mut bus, &cdb, &[], 0);
        assert!(
            answer.sense.is_empty() || answer.code() != 0x2000,
            "{code:x}"
        );
    }
}

#[test]
fn a_reservation_is_held_by_its_key() {
    let (mut bus, _) = ready(&image());
    let out = |bus: &mut TestBus, action: u8, kind: u8, key: u64, new: u64| {
        let mut list = [key, new].map(u64::to_be_bytes).concat();
        list.resize(24, 0);
        command(bus, &[0x5f, action, kind, 0, 0, 0, 0, 0, 24, 0], &list, 0).status
    };
    let read = |bus: &mut TestBus, action: u8| {
        let answer = command(bus, &[0x5e, action, 0, 0, 0, 0, 0, 0, 64, 0], &[], 64);
        answer.good().data.clone()
    };
    assert_eq!(out(&mut bus, 1, 1, 0xabc, 0), CONFLICT, "not registered");
    assert_eq!(out(&mut bus, 0, 0, 0, 0xabc), GOOD);
    assert_eq!(
        read(&mut bus, 0)[..16],
        [0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0x0a, 0xbc]
    );
    assert_eq!(out(&mut bus, 1, 5, 0xabc, 0), GOOD);
    assert_eq!(read(&mut bus, 1)[7], 16);
    assert_eq!(out(&mut bus, 1, 3, 0xabc, 0), CONFLICT);
    assert_eq!(out(&mut bus, 2, 5, 0xbad, 0), CONFLICT);
    assert_eq!(out(&mut bus, 2, 5, 0xabc, 0), GOOD);
    assert_eq!(read(&mut bus, 1)[7], 0);
    assert_eq!(out(&mut bus, 3, 0, 0xabc, 0), GOOD);
    assert_eq!(read(&mut bus, 0)[..8], [0, 0, 0, 2, 0, 0, 0, 0]);
    assert_eq!(read(&mut bus, 2)[..6], [0, 8, 0, 0x80, 0xea, 1]);
}

#[test]
fn a_stopped_unit_is_not_ready() {
    let (mut bus, _) = ready(&image());
    command(&mut bus, &read10(0, 1), &[], 512).good();
    command(&mut bus, &[0x1b, 0, 0, 0, 0, 0], &[], 0).good();
    assert_eq!(
        command(&mut bus, &read10(0, 1), &[], 512).refused(),
        (2, 0x0402)
    );
    command(&mut bus, &[0x1b, 0, 0, 0, 1, 0], &[], 0).good();
    command(&mut bus, &read10(0, 1), &[], 512).good();
}

#[test]
fn a_read_only_image_is_write_protected() {
    let scsi = virtio_scsi::Scsi::new(&Default::default()).unwrap();
    let setup = Setup {
        kind: Kind::Disk { removable: false },
        ..Setup::default()
    };
    let unit = LogicalUnit::new(setup, raw(&image()).read_only(true)).unwrap();
    scsi.handle().add(at(1, 0), Arc::new(unit)).unwrap();
    let mut bus = TestBus::new(scsi);
    bus.boot(virtio_scsi::virtio_device::Features::VERSION_1);
    settle(&mut bus, 1, 0);
    assert_eq!(
        command(&mut bus, &write10(0, 1), &[0; 512], 0).refused(),
        (7, 0x2700)
    );
    let sense = command(&mut bus, &[0x1a, 8, 8, 0, 255, 0], &[], 255);
    assert_eq!(sense.good().data[2], 0x90);
    command(&mut bus, &[0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[], 0).good();
}

#[test]
fn an_image_that_has_shrunk_is_a_medium_error() {
    let file = image();
    let (mut bus, _) = ready(&file);
    file.set_len(1024).unwrap();
    let answer = command(&mut bus, &read10(4, 1), &[], 512);
    assert_eq!(answer.refused(), (3, 0x1100));
    assert_eq!(answer.sense[3..7], 4_u32.to_be_bytes());
}
