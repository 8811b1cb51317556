//! Requests that broke other devices, by the number of the bug.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::*;
use testkit::virtio_bus::ThreadRunner;
use testkit::{BOUNDARY, END, Options, Segment, TestBus};
use virtio_blk::virtio_device::Features;
use virtio_blk::{Blk, BlkProps};

const END_OF_DISK: u64 = SECTORS;

/// The image must be as it was, and the device alive.
struct Untouched {
    file: std::fs::File,
    bus: TestBus,
}

impl Untouched {
    fn new() -> Self {
        Self::with(BlkProps::default())
    }

    fn with(props: BlkProps) -> Self {
        let file = image();
        let bus = boot(&props, raw(&file).discard(true));
        Self { file, bus }
    }

    fn check(mut self) {
        assert_eq!(contents(&self.file), pattern(SECTORS as usize * SECTOR));
        assert!(!self.bus.needs_reset());
        let answer = read(&mut self.bus, 1, 512);
        assert_eq!((answer.status, answer.used), (OK, 513));
    }
}

/// Submits exactly these segments; returns the used length.
fn submit(bus: &mut TestBus, segments: &[Segment]) -> u32 {
    let queue = bus.queue(0);
    let id = queue.add(segments).unwrap();
    queue.publish();
    bus.notify(0);
    assert!(bus.run_until(|bus| bus.queue(0).has_used()));
    let used = bus.queue(0).collect().unwrap();
    assert_eq!(used.id, id);
    used.len
}

fn segment(address: u64, len: u32, writable: bool) -> Segment {
    Segment {
        address,
        len,
        writable,
    }
}

/// A header and a status byte at fixed places, and data wherever `data` says.
fn around(bus: &TestBus, kind: u32, sector: u64, data: Segment) -> [Segment; 3] {
    bus.ram().write(0x100, &header(kind, sector));
    bus.ram().write(0x200, &[NONE]);
    [segment(0x100, 16, false), data, segment(0x200, 1, true)]
}

fn status(bus: &TestBus) -> u8 {
    bus.ram().read(0x200, 1)[0]
}

#[test]
fn bug_46_a_read_only_disk_is_not_written_whatever_was_negotiated() {
    for features in [Features::NONE, F_RO] {
        let file = image();
        let image = raw(&file).read_only(true).discard(true);
        let device = Blk::new(&BlkProps::default(), image).unwrap();
        let mut bus = TestBus::with(device, Options::default());
        bus.boot(Features::VERSION_1 | features);
        assert_eq!(write(&mut bus, 0, &[0; 512]).status, IOERR);
        for kind in [DISCARD, WRITE_ZEROES] {
            assert_eq!(request(&mut bus, kind, 0, &range(0, 8, 0)).status, IOERR);
        }
        assert_eq!(request(&mut bus, FLUSH, 0, &[]).status, OK);
        Untouched { file, bus }.check();
    }
}

#[test]
fn bug_47_sectors_do_not_overflow() {
    let mut disk = Untouched::new();
    let sectors = [
        u64::MAX,
        u64::MAX / 512,
        u64::MAX / 512 + 1,
        1 << 55,
        i64::MAX as u64 / 512,
    ];
    for sector in sectors.into_iter().chain([END_OF_DISK + 1]) {
        for count in [0u32, 1, 8, 4194303, u32::MAX] {
            for kind in [DISCARD, WRITE_ZEROES] {
                let answer = request(&mut disk.bus, kind, 0, &range(sector, count, 0));
                assert_eq!(answer.status, IOERR, "{kind} {sector:#x} {count:#x}");
            }
        }
        assert_eq!(write(&mut disk.bus, sector, &[0; 512]).status, IOERR);
        let answer = read(&mut disk.bus, sector, 512);
        assert_eq!((answer.status, answer.used), (IOERR, 0));
        // Even nothing must be within the disk.
        assert_eq!(write(&mut disk.bus, sector, &[]).status, IOERR);
    }
    assert_eq!(write(&mut disk.bus, END_OF_DISK, &[]).status, OK);
    disk.check();
}

#[test]
fn bug_48_all_of_a_chain_counts() {
    let mut disk = Untouched::new();
    // Each part fits behind the last sector's first byte, all of them do not.
    let part = [0u8; 512];
    let header_out = header(OUT, END_OF_DISK - 2);
    let parts: [&[u8]; 4] = [&header_out, &part, &part, &part];
    let answer = Answer::of(disk.bus.request(0, &parts, &[1]));
    assert_eq!(answer.status, IOERR);
    let header_in = header(IN, END_OF_DISK - 2);
    let answer = Answer::of(disk.bus.request(0, &[&header_in], &[512, 512, 512, 1]));
    assert_eq!((answer.status, answer.used), (IOERR, 0));
    let answer = Answer::of(disk.bus.request(0, &[&header_in], &[512, 512, 1]));
    assert_eq!((answer.status, answer.used), (OK, 1025));
    disk.check();
}

#[test]
fn bug_49_lengths_counts_and_flags() {
    let mut disk = Untouched::with(BlkProps::default().max_write_zeroes_segments(2));
    let bus = &mut disk.bus;
    for len in [1, 511, 513, 4095] {
        assert_eq!(read(bus, 0, len).status, IOERR);
        assert_eq!(write(bus, 0, &vec![0; len]).status, IOERR);
    }
    let three = [range(0, 1, 0), range(1, 1, 0), range(2, 1, 0)].concat();
    for kind in [DISCARD, WRITE_ZEROES] {
        for len in [0, 1, 15, 17, 48] {
            assert_eq!(request(bus, kind, 0, &three[..len]).status, IOERR, "{len}");
        }
        for flags in [2, 3, 1 << 31, u32::MAX] {
            assert_eq!(request(bus, kind, 0, &range(0, 8, flags)).status, UNSUPP);
        }
        // A good range is not begun if one after it is bad.
        let second = [range(0, 8, 0), range(END_OF_DISK, 1, 0)].concat();
        assert_eq!(request(bus, kind, 0, &second).status, IOERR);
    }
    assert_eq!(request(bus, DISCARD, 0, &range(0, 8, 1)).status, UNSUPP);
    disk.check();
}

#[test]
fn bug_49_blocks_larger_than_sectors() {
    let props = BlkProps::default().logical_block_size(virtio_blk::Size(4096));
    let mut disk = Untouched::with(props);
    let bus = &mut disk.bus;
    for (sector, len) in [(0, 512), (1, 4096), (4, 8192), (8, 2048)] {
        assert_eq!(read(bus, sector, len).status, IOERR);
        assert_eq!(write(bus, sector, &vec![0; len]).status, IOERR);
        let sectors = (len / 512) as u32;
        let zeroes = request(bus, WRITE_ZEROES, 0, &range(sector, sectors, 0));
        assert_eq!(zeroes.status, IOERR);
    }
    assert_eq!(read(bus, 8, 8192).status, OK);
    assert_eq!(contents(&disk.file), pattern(SECTORS as usize * SECTOR));
}

#[test]
fn ranges_longer_than_the_limit_are_refused() {
    let props = BlkProps::default()
        .max_discard_sectors(8)
        .max_write_zeroes_sectors(16);
    let mut disk = Untouched::with(props);
    for (kind, count) in [(DISCARD, 9), (WRITE_ZEROES, 17)] {
        assert_eq!(
            request(&mut disk.bus, kind, 0, &range(0, count, 0)).status,
            IOERR
        );
    }
    disk.check();
    let mut disk = Untouched::with(BlkProps::default().discard(false).write_zeroes(false));
    for kind in [DISCARD, WRITE_ZEROES] {
        assert_eq!(
            request(&mut disk.bus, kind, 0, &range(0, 1, 0)).status,
            UNSUPP
        );
    }
    disk.check();
}

#[test]
fn bug_50_a_status_that_is_missing_read_only_or_empty() {
    let mut disk = Untouched::new();
    let bus = &mut disk.bus;
    let whole = [header(OUT, 0), vec![0; 512]].concat();
    for writable in [&[][..], &[0], &[0, 0]] {
        assert_eq!(bus.request(0, &[&whole], writable).len, 0);
        assert_eq!(bus.request(0, &[&header(IN, 0)], writable).len, 0);
    }
    // An empty descriptor behind it does not hide the status.
    let answer = bus.request(0, &[&header(GET_ID, 0)], &[20, 1, 0]);
    assert_eq!((answer.len, answer.bytes[20]), (21, OK));
    // Too little for a header is an error where there is a place to say so.
    for len in 0..16 {
        let answer = bus.request(0, &[&header(IN, 0)[..len]], &[512, 1]);
        assert_eq!((answer.len, answer.bytes[512]), (0, IOERR));
    }
    assert_eq!(bus.request(0, &[&[0; 15]], &[]).len, 0);
    assert_eq!(bus.request(0, &[], &[1]).bytes, [IOERR]);
    disk.check();
}

#[test]
fn bug_50_a_status_outside_of_memory() {
    let mut disk = Untouched::new();
    for at in [END, u64::MAX - 1, 1 << 40] {
        let data = segment(0x400, 512, false);
        let mut segments = around(&disk.bus, OUT, 0, data);
        segments[2] = segment(at, 1, true);
        assert_eq!(submit(&mut disk.bus, &segments), 0, "{at:#x}");
    }
    disk.check();
}

#[test]
fn bug_51_unknown_types_touch_nothing() {
    let mut disk = Untouched::new();
    let kinds = [
        SCSI_CMD,
        SCSI_CMD | 1,
        5,
        10,
        12,
        14,
        15,
        16,
        18,
        26,
        1 << 31,
        OUT | 1 << 31,
        u32::MAX,
    ];
    for kind in kinds {
        let data = segment(0x400, 64, true);
        disk.bus.ram().write(0x400, &[NONE; 64]);
        let segments = around(&disk.bus, kind, 0, data);
        assert_eq!(submit(&mut disk.bus, &segments), 0, "{kind}");
        assert_eq!(status(&disk.bus), UNSUPP);
        assert_eq!(disk.bus.ram().read(0x400, 64), [NONE; 64]);
        let answer = request(&mut disk.bus, kind, 0, &[0xff; 96]);
        assert_eq!((answer.status, answer.used), (UNSUPP, 1));
    }
    disk.check();
}

#[test]
fn bug_52_no_format_is_ever_guessed() {
    let file = image();
    let mut bus = boot(&BlkProps::default(), raw(&file));
    // What a guest writes to look like a qcow2 image with a backing file of the host.
    let mut forged = vec![0; 512];
    forged[..8].copy_from_slice(b"QFI\xfb\0\0\0\x03");
    forged[8..24].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 64, 0, 0, 0, 11, 0, 0, 0, 16]);
    forged[64..75].copy_from_slice(b"/etc/passwd");
    assert_eq!(write(&mut bus, 0, &forged).status, OK);
    drop(bus);
    let mut bus = boot(&BlkProps::default(), raw(&file));
    assert_eq!(bus.read_config(0, 8), SECTORS.to_le_bytes());
    assert_eq!(read(&mut bus, 0, 512).data, forged);
}

#[test]
fn bug_18_data_that_is_not_all_memory_is_not_moved() {
    for mode in all_modes() {
        let file = image();
        let mut bus = boot(&BlkProps::default(), raw(&file).mode(mode));
        let last = END - 512;
        bus.ram().write(last, &[NONE; 512]);
        for writable in [false, true] {
            let kind = if writable { IN } else { OUT };
            for data in [
                segment(last, 1024, writable),
                segment(END, 512, writable),
                segment(1 << 40, 512, writable),
                segment(u64::MAX - 600, 512, writable),
            ] {
                let segments = around(&bus, kind, 0, data);
                let used = submit(&mut bus, &segments);
                assert_eq!((status(&bus), used), (IOERR, u32::from(!writable)));
            }
            // The good part comes first.
            let [head, bad, tail] = around(&bus, kind, 0, segment(END, 512, writable));
            let good = segment(last, 512, writable);
            submit(&mut bus, &[head, good, bad, tail]);
            assert_eq!(status(&bus), IOERR);
        }
        assert_eq!(bus.ram().read(last, 512), [NONE; 512]);
        Untouched { file, bus }.check();
    }
}

#[test]
fn bug_18_a_header_that_is_not_all_memory() {
    let mut disk = Untouched::new();
    for at in [END - 8, END, 1 << 40] {
        let mut segments = around(&disk.bus, OUT, 0, segment(0x400, 512, false));
        segments[0] = segment(at, 16, false);
        assert_eq!(submit(&mut disk.bus, &segments), 1);
        assert_eq!(status(&disk.bus), IOERR);
    }
    disk.check();
}

#[test]
fn bug_19_buffers_across_regions() {
    for mode in all_modes() {
        let file = image();
        let mut bus = boot(&BlkProps::default(), raw(&file).mode(mode));
        let data = segment(BOUNDARY - 700, 4096, true);
        let segments = around(&bus, IN, 2, data);
        assert_eq!(submit(&mut bus, &segments), 4097);
        let all = pattern(2 * SECTOR + 4096);
        assert_eq!(bus.ram().read(data.address, 4096), all[2 * SECTOR..]);
        let back = segment(BOUNDARY - 1, 512, false);
        let segments = around(&bus, OUT, 100, back);
        assert_eq!(submit(&mut bus, &segments), 1);
        let bytes = bus.ram().read(back.address, 512);
        assert_eq!(contents(&file)[100 * SECTOR..101 * SECTOR], bytes);
    }
}

#[test]
fn bug_17_a_header_is_16_bytes_however_long_the_buffer() {
    let mut disk = Untouched::new();
    let long = [header(FLUSH, 0), vec![0xff; 1 << 16]].concat();
    let answer = Answer::of(disk.bus.request(0, &[&long], &[1]));
    assert_eq!((answer.status, answer.used), (OK, 1));
    disk.check();
}

#[test]
fn bug_22_every_chain_comes_back() {
    for ring in all_rings() {
        let props = BlkProps::default().queue_size(8);
        let mut bus = boot_with(&props, raw(&image()), ring);
        for round in 0..40u64 {
            let bad: [(&[u8], &[u32]); 4] = [
                (&[1, 2, 3], &[1]),
                (&header(99, round), &[1]),
                (&header(IN, u64::MAX - round), &[512, 1]),
                (&header(IN, 0), &[0]),
            ];
            let (readable, writable) = bad[round as usize % 4];
            bus.request(0, &[readable], writable);
        }
        assert_eq!(read(&mut bus, 0, 512).status, OK);
    }
}

#[test]
fn bug_26_used_is_what_was_written_without_a_gap() {
    let mut disk = Untouched::new();
    for len in [512, 4096, 65536] {
        assert_eq!(read(&mut disk.bus, 0, len).used, len as u32 + 1);
    }
    assert_eq!(request(&mut disk.bus, FLUSH, 0, &[]).used, 1);
    // The status of a failed read lies behind data that was not written.
    assert_eq!(read(&mut disk.bus, u64::MAX, 512).used, 0);
    disk.check();
}

#[test]
fn bug_16_a_chain_as_long_as_the_queue() {
    let props = BlkProps::default().queue_size(64);
    let mut bus = boot_with(&props, raw(&image()), Features::NONE);
    let mut writable = vec![16; 62];
    writable.push(1);
    let answer = bus.request(0, &[&header(IN, 1)], &writable);
    assert_eq!(answer.bytes[992], IOERR, "992 bytes are no sectors");
    writable[0] = 48;
    let answer = bus.request(0, &[&header(IN, 1)], &writable);
    assert_eq!((answer.len, answer.bytes[1024]), (1025, OK));
    assert_eq!(answer.bytes[..1024], pattern(3 * SECTOR)[SECTOR..]);
}

#[test]
fn bug_14_a_range_that_changes_while_it_is_read() {
    let file = image();
    let runner = ThreadRunner::new("blk").poll(Duration::ZERO);
    let device = Blk::new(&BlkProps::default(), raw(&file)).unwrap();
    let mut bus = TestBus::on(device, Arc::new(runner));
    bus.boot(Features::VERSION_1 | F_FLUSH);
    let data = segment(0x400, 16, false);
    bus.ram().write(data.address, &range(8, 1, 0));
    let (ram, stop) = (bus.ram(), Arc::new(AtomicBool::new(false)));
    let stopped = stop.clone();
    let racer = std::thread::spawn(move || {
        let sectors = [8u64, END_OF_DISK, 8, u64::MAX / 512];
        for sector in sectors.into_iter().cycle() {
            ram.store(data.address, sector);
            if stopped.load(Ordering::Relaxed) {
                break;
            }
        }
    });
    let mut seen = [false; 2];
    for _ in 0..2000 {
        let segments = around(&bus, WRITE_ZEROES, 0, data);
        submit(&mut bus, &segments);
        let status = status(&bus);
        assert!([OK, IOERR].contains(&status));
        seen[usize::from(status)] = true;
    }
    stop.store(true, Ordering::Relaxed);
    racer.join().unwrap();
    assert!(seen[0], "some were good");
    let mut expected = pattern(SECTORS as usize * SECTOR);
    expected[8 * SECTOR..9 * SECTOR].fill(0);
    assert_eq!(contents(&file), expected);
}
