//! Commands as a driver sees them.

mod common;

use common::*;
use virtio_scsi::scsi_target::Lun;

#[test]
fn the_first_command_has_a_unit_attention() {
    let (mut bus, _) = boot(&image());
    let answer = command(&mut bus, &[0; 6], &[], 0);
    assert_eq!(answer.refused(), (6, 0x2900));
    assert_eq!(answer.sense[0], 0x70);
    assert_eq!(answer.used, 108);
    command(&mut bus, &[0; 6], &[], 0).good();
}

#[test]
fn inquiry_is_answered_before_any_attention_is_told() {
    let (mut bus, _) = boot(&image());
    let answer = command(&mut bus, &[0x12, 0, 0, 0, 36, 0], &[], 36);
    let data = &answer.good().data;
    assert_eq!((data[0], data[1], data[4]), (0, 0, 31));
    assert_eq!(&data[8..36], b"QEMU    QEMU HARDDISK   2.5+");
    assert_eq!(command(&mut bus, &[0; 6], &[], 0).refused(), (6, 0x2900));
}

#[test]
fn every_read_and_write_moves_whole_blocks() {
    let file = image();
    let (mut bus, _) = ready(&file);
    let forms: [(&[u8], &[u8]); 4] = [
        (&[0x0a, 0, 0, 7, 1, 0], &[0x08, 0, 0, 7, 1, 0]),
        (&write10(7, 1), &read10(7, 1)),
        (
            &[0xaa, 0, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0],
            &[0xa8, 0, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0],
        ),
        (&transfer16(0x8a, 0, 7, 1), &transfer16(0x88, 0, 7, 1)),
    ];
    for (index, (write, read)) in forms.into_iter().enumerate() {
        let block = [0xa0 + index as u8; BLOCK];
        command(&mut bus, write, &block, 0).good();
        assert_eq!(contents(&file, 7 * 512, BLOCK), block);
        assert_eq!(command(&mut bus, read, &[], 512).good().data, block);
    }
    // Six bytes have room for a count of 256, as 0.
    let data = command(&mut bus, &[0x08, 0, 0, 0, 0, 0], &[], 256 * 512);
    assert_eq!(data.good().residual, 0);
}

#[test]
fn what_is_left_of_a_buffer_is_the_residual() {
    let (mut bus, _) = ready(&image());
    let answer = command(&mut bus, &read10(0, 1), &[], 1024);
    assert_eq!((answer.good().residual, answer.used), (512, 108 + 512));
    let answer = command(&mut bus, &write10(0, 1), &[1; 2048], 0);
    assert_eq!(answer.good().residual, 1536);
    let answer = command(&mut bus, &[0x12, 0, 0, 0, 255, 0], &[], 255);
    assert_eq!(answer.good().residual, 255 - 36);
}

#[test]
fn a_command_that_wants_more_than_its_buffers_has_an_overrun() {
    let file = image();
    let (mut bus, _) = ready(&file);
    for (cdb, out, room) in [
        (read10(0, 2), &[][..], 1023),
        (write10(0, 2), &[0xff; 1023][..], 0),
        (vec![0x12, 0, 0, 0, 36, 0], &[], 35),
        (vec![0x55, 0x10, 0, 0, 0, 0, 0, 0, 16, 0], &[0; 8], 0),
    ] {
        let answer = command(&mut bus, &cdb, out, room);
        assert_eq!(answer.response, OVERRUN, "{cdb:x?}");
    }
    assert_eq!(contents(&file, 0, 1024), pattern(1024));
}

#[test]
fn the_whole_range_is_checked_before_a_block_is_moved() {
    let file = image();
    let (mut bus, _) = ready(&file);
    let last = BLOCKS as u32 - 1;
    let answer = command(&mut bus, &write10(last, 2), &[0xff; 1024], 0);
    assert_eq!(answer.refused(), (5, 0x2100));
    assert_eq!(answer.residual, 1024);
    for lba in [u64::MAX, u64::MAX / 512, 1 << 55, BLOCKS] {
        let answer = command(&mut bus, &transfer16(0x88, 0, lba, 1), &[], 512);
        assert_eq!(answer.refused(), (5, 0x2100), "{lba:x}");
    }
    command(&mut bus, &write10(last, 1), &[0xee; 512], 0).good();
    assert_eq!(contents(&file, 0, 512), pattern(512));
}

#[test]
fn both_capacities_agree() {
    let (mut bus, _) = ready(&image());
    let short = command(&mut bus, &[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[], 8);
    assert_eq!(short.good().data, [0, 0, 7, 0xff, 0, 0, 2, 0]);
    let mut cdb = transfer16(0x9e, 0x10, 0, 32);
    cdb[14] = 0;
    let long = command(&mut bus, &cdb, &[], 32);
    assert_eq!(&long.good().data[..8], &(BLOCKS - 1).to_be_bytes());
    assert_eq!(&long.data[8..12], &512_u32.to_be_bytes());
}

#[test]
fn bug_61_luns_are_reported_and_have_to_fit() {
    let file = image();
    let (mut bus, handle) = ready(&file);
    for lun in [3, 300] {
        handle.add(at(1, lun), disk(&image())).unwrap();
    }
    let report = |room: u32| {
        let mut cdb = vec![0xa0, 0, 0, 0, 0, 0];
        cdb.extend(room.to_be_bytes());
        cdb.extend([0, 0]);
        cdb
    };
    let answer = command(&mut bus, &report(64), &[], 64);
    let list = &answer.good().data;
    assert_eq!(list[..8], [0, 0, 0, 24, 0, 0, 0, 0]);
    let luns = [0, 3, 300].map(|lun| Lun::new(lun).unwrap().encode());
    assert_eq!(list[8..32], luns.concat());
    assert_eq!(answer.residual, 32);
    // Less than one entry is refused, in every length.
    for room in 0..16 {
        let answer = command(&mut bus, &report(room), &[], 64);
        assert_eq!(answer.refused(), (5, 0x2400), "{room}");
    }
}

#[test]
fn bug_61_every_form_of_lun_finds_its_unit_or_none() {
    let (mut bus, handle) = ready(&image());
    handle.add(at(1, 300), disk(&image())).unwrap();
    settle(&mut bus, 1, 0);
    settle(&mut bus, 1, 300);
    let good: [[u8; 8]; 3] = [
        [1, 1, 0, 0, 0, 0, 0, 0],
        [1, 1, 0x40, 0, 0, 0, 0, 0],
        [1, 1, 0x41, 44, 0, 0, 0, 0],
    ];
    for lun in good {
        raw_command(&mut bus, lun, &[0; 6], &[], 0).good();
    }
    let none: [[u8; 8]; 9] = [
        [0; 8],
        [0, 1, 0, 0, 0, 0, 0, 0],
        [1, 2, 0, 0, 0, 0, 0, 0],
        [2, 1, 0, 0, 0, 0, 0, 0],
        [1, 1, 0x80, 0, 0, 0, 0, 0],
        [1, 1, 0xc1, 0x01, 0, 0, 0, 0],
        [1, 1, 0, 0, 1, 0, 0, 0],
        [1, 1, 1, 0, 0, 0, 0, 0],
        [0xc1, 0x01, 0, 0, 0, 0, 0, 0],
    ];
    for lun in none {
        let answer = raw_command(&mut bus, lun, &[0; 6], &[], 0);
        assert_eq!(answer.response, BAD_TARGET, "{lun:x?}");
    }
}

#[test]
fn a_target_answers_for_units_that_it_does_not_have() {
    let (mut bus, _) = ready(&image());
    let answer = command_to(&mut bus, 1, 5, &[0; 6], &[], 0);
    assert_eq!(answer.refused(), (5, 0x2500));
    let answer = command_to(&mut bus, 1, 5, &[0x12, 0, 0, 0, 36, 0], &[], 36);
    assert_eq!(answer.good().data[0], 0x7f);
    let cdb = [0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0];
    let answer = command_to(&mut bus, 1, 5, &cdb, &[], 16);
    assert_eq!(answer.good().data[3], 8);
}

#[test]
fn data_in_both_directions_is_refused() {
    let (mut bus, _) = ready(&image());
    let answer = command(&mut bus, &read10(0, 1), &[1; 512], 512);
    assert_eq!(answer.response, FAILURE);
}

#[test]
fn bug_60_sizes_are_those_of_the_moment_a_request_is_taken() {
    let (mut bus, _) = ready(&image());
    // A command block of 16 bytes and 18 bytes of sense data, instead of 32 and 96.
    bus.core().write_config(20, &18_u32.to_le_bytes());
    bus.core().write_config(24, &16_u32.to_le_bytes());
    let mut header = header(lun_field(1, 0), 1, &read10(5, 1));
    header.truncate(19 + 16);
    let answer = bus.request(REQUEST, &[&header], &[30 + 512]);
    assert_eq!((answer.bytes[10], answer.bytes[11]), (GOOD, OK));
    assert_eq!(answer.bytes[30..], pattern(6 * 512)[5 * 512..]);
    assert_eq!(answer.len, 30 + 512);
    // What is out of range is not taken over.
    bus.core().write_config(20, &0x10000_u32.to_le_bytes());
    bus.core().write_config(24, &256_u32.to_le_bytes());
    let sizes = bus.read_config(20, 8);
    assert_eq!(sizes, [18, 0, 0, 0, 16, 0, 0, 0]);
}

#[test]
fn a_command_block_that_is_cut_off_is_refused() {
    let (mut bus, _) = ready(&image());
    bus.core().write_config(24, &6_u32.to_le_bytes());
    let mut header = header(lun_field(1, 0), 1, &read10(5, 1));
    header.truncate(19 + 6);
    let answer = Answer::of(&bus.request(REQUEST, &[&header], &[108 + 512]), 96);
    assert_eq!(answer.refused(), (5, 0x2400));
}

#[test]
fn requests_that_are_too_short_are_given_back() {
    let (mut bus, _) = ready(&image());
    let short = bus.request(REQUEST, &[&[0; 50]], &[108]);
    assert_eq!((short.bytes[11], short.len), (FAILURE, 108));
    let header = header(lun_field(1, 0), 1, &[0; 6]);
    assert_eq!(bus.request(REQUEST, &[&header], &[107]).len, 0);
}

#[test]
fn a_legacy_driver_of_a_big_endian_machine_is_understood() {
    use testkit::{Options, TestBus};
    use virtio_scsi::virtio_device::{ByteOrder, Features};
    let options = Options {
        legacy: Some(ByteOrder::Big),
        ..Options::default()
    };
    let mut bus = TestBus::with(device(&image()).0, options);
    bus.boot(Features::NONE);
    let header = header(lun_field(1, 0), 1, &[0; 6]);
    let answer = bus.request(REQUEST, &[&header], &[108]);
    assert_eq!(answer.bytes[..4], 18_u32.to_be_bytes());
    assert_eq!(answer.bytes[10], CHECK_CONDITION);
}
