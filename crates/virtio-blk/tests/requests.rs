//! Every type of request, on every kind of ring and in every mode of I/O.

mod common;

use common::*;
use virtio_blk::{BlkProps, NullDisk, guest_io::Mode};

#[test]
fn reads_and_writes_whatever_the_ring_and_mode() {
    for mode in all_modes() {
        for ring in all_rings() {
            let file = image();
            let mut bus = boot_with(&BlkProps::default(), raw(&file).mode(mode), ring);
            let answer = read(&mut bus, 3, 4096);
            assert_eq!(
                (answer.status, answer.used),
                (OK, 4097),
                "{mode:?} {ring:?}"
            );
            assert_eq!(answer.data, pattern(3 * SECTOR + 4096)[3 * SECTOR..]);

            let data: Vec<u8> = pattern(1024).iter().map(|byte| !byte).collect();
            let answer = write(&mut bus, 7, &data);
            assert_eq!((answer.status, answer.used), (OK, 1));
            assert_eq!(read(&mut bus, 7, 1024).data, data);
            let mut expected = pattern(SECTORS as usize * SECTOR);
            expected[7 * SECTOR..9 * SECTOR].copy_from_slice(&data);
            assert_eq!(contents(&file), expected);
        }
    }
}

#[test]
fn flushes() {
    for mode in all_modes() {
        let mut bus = boot(&BlkProps::default(), raw(&image()).mode(mode));
        let answer = request(&mut bus, FLUSH, 0, &[]);
        assert_eq!((answer.status, answer.used), (OK, 1));
    }
}

#[test]
fn says_its_serial_number() {
    let props = BlkProps::default().serial(Some("BLK0001".into()));
    let mut bus = boot(&props, raw(&image()));
    let header = header(GET_ID, 0);
    let answer = Answer::of(bus.request(0, &[&header], &[20, 1]));
    assert_eq!((answer.status, answer.used), (OK, 21));
    assert_eq!(answer.data, b"BLK0001\0\0\0\0\0\0\0\0\0\0\0\0\0");
    // Less room gets less of it; more room is left alone after 20 bytes.
    let answer = Answer::of(bus.request(0, &[&header], &[3, 1]));
    assert_eq!(
        (answer.status, answer.used, &*answer.data),
        (OK, 4, &b"BLK"[..])
    );
    let answer = Answer::of(bus.request(0, &[&header], &[64, 1]));
    assert_eq!((answer.status, answer.used), (OK, 20));
}

#[test]
fn zeroes_and_discards_ranges() {
    for mode in all_modes() {
        let file = image();
        let props = BlkProps::default()
            .max_write_zeroes_segments(8)
            .max_discard_segments(8);
        let mut bus = boot(&props, raw(&file).mode(mode).discard(true));
        let ranges = [
            range(2, 3, 0),
            range(10, 1, 1),
            range(255, 1, 0),
            range(9, 0, 0),
        ]
        .concat();
        let answer = request(&mut bus, WRITE_ZEROES, 0, &ranges);
        assert_eq!((answer.status, answer.used), (OK, 1), "{mode:?}");
        let mut expected = pattern(SECTORS as usize * SECTOR);
        for (first, count) in [(2, 3), (10, 1), (255, 1)] {
            expected[first * SECTOR..(first + count) * SECTOR].fill(0);
        }
        assert_eq!(contents(&file), expected);

        let ranges = [range(16, 8, 0), range(64, 64, 0)].concat();
        assert_eq!(request(&mut bus, DISCARD, 0, &ranges).status, OK);
        assert_eq!(contents(&file).len(), expected.len());
        // What was not discarded is as it was.
        let rest = |bytes: &[u8]| [&bytes[..16 * SECTOR], &bytes[128 * SECTOR..]].concat();
        assert_eq!(rest(&contents(&file)), rest(&expected));
    }
}

#[test]
fn discards_are_ignored_unless_the_host_wants_them() {
    let file = image();
    let mut bus = boot(&BlkProps::default(), raw(&file).mode(Mode::Sync));
    assert_eq!(request(&mut bus, DISCARD, 0, &range(0, 128, 0)).status, OK);
    assert_eq!(contents(&file), pattern(SECTORS as usize * SECTOR));
}

#[test]
fn a_null_disk_reads_as_zeroes() {
    let mut bus = boot(&BlkProps::default(), NullDisk::new(1 << 40).unwrap());
    assert_eq!(write(&mut bus, 1 << 30, &[1; 512]).status, OK);
    let answer = read(&mut bus, 1 << 30, 512);
    assert_eq!(
        (answer.status, answer.used, answer.data),
        (OK, 513, vec![0; 512])
    );
    for kind in [DISCARD, WRITE_ZEROES] {
        assert_eq!(request(&mut bus, kind, 0, &range(0, 8, 0)).status, OK);
    }
    assert_eq!(request(&mut bus, FLUSH, 0, &[]).status, OK);
}
