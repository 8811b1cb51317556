//! SECURE_ERASE: zeroes are written over what is erased, whatever shorter ways there are.

mod common;

use std::os::unix::fs::MetadataExt;

use common::*;
use virtio_blk::virtio_device::{Features, VirtioDevice};
use virtio_blk::{Blk, BlkProps, NullDisk};

const SECURE_ERASE: u32 = 14;
const F_SECURE_ERASE: Features = Features::bit(16);

fn props() -> BlkProps {
    BlkProps::default().secure_erase(true)
}

#[test]
fn what_is_erased_is_overwritten_in_every_mode() {
    for mode in all_modes() {
        let file = image();
        let occupied = file.metadata().unwrap().blocks();
        let mut bus = boot(&props(), raw(&file).discard(true).mode(mode));
        let answer = request(&mut bus, SECURE_ERASE, 0, &range(3, 150, 0));
        assert_eq!((answer.status, answer.used), (OK, 1), "{mode:?}");
        let mut expected = pattern(SECTORS as usize * SECTOR);
        expected[3 * SECTOR..153 * SECTOR].fill(0);
        assert_eq!(contents(&file), expected);
        assert_eq!(file.metadata().unwrap().blocks(), occupied);
    }
}

#[test]
fn it_is_done_when_it_is_stable() {
    let (backend, script) = scripted(&image());
    let mut bus = boot(&props(), backend);
    assert_eq!(
        request(&mut bus, SECURE_ERASE, 0, &range(0, 8, 0)).status,
        OK
    );
    assert_eq!(script.calls(), [Call::Overwrite, Call::Sync]);
    script.fail([Fault::None, Fault::Error(5)]);
    assert_eq!(
        request(&mut bus, SECURE_ERASE, 0, &range(0, 8, 0)).status,
        IOERR
    );
}

#[test]
fn lengths_flags_and_places_are_checked() {
    let file = image();
    let mut bus = boot(&props(), raw(&file));
    for (data, status) in [
        (range(0, 8, 1), UNSUPP),
        (range(0, 8, 2), UNSUPP),
        (range(SECTORS - 1, 2, 0), IOERR),
        (range(u64::MAX, 1, 0), IOERR),
        (range(0, 65537, 0), IOERR),
        ([range(0, 1, 0), range(1, 1, 0)].concat(), IOERR),
        (vec![0; 15], IOERR),
    ] {
        assert_eq!(request(&mut bus, SECURE_ERASE, 0, &data).status, status);
    }
    assert_eq!(contents(&file), pattern(SECTORS as usize * SECTOR));
}

#[test]
fn it_is_offered_where_it_is_asked_for() {
    let device = Blk::new(&props(), raw(&image())).unwrap();
    assert!(device.info().features.contains(F_SECURE_ERASE));
    let bytes = device.config().snapshot();
    let number = |at| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    assert_eq!((bytes.len(), [60, 64, 68].map(number)), (72, [65536, 1, 1]));
    let null = Blk::new(&props(), NullDisk::new(1 << 20).unwrap()).unwrap();
    assert!(null.info().features.contains(F_SECURE_ERASE));
    let plain = Blk::new(&BlkProps::default(), raw(&image())).unwrap();
    assert!(!plain.info().features.contains(F_SECURE_ERASE));
    let mut bus = boot(&BlkProps::default(), raw(&image()));
    assert_eq!(
        request(&mut bus, SECURE_ERASE, 0, &range(0, 8, 0)).status,
        UNSUPP
    );
    let image = raw(&image()).read_only(true);
    let fixed = Blk::new(&props(), image).unwrap();
    assert!(!fixed.info().features.contains(F_SECURE_ERASE));
}

/// As Linux sends it: what is to be erased is where data would go, whatever the framing.
#[test]
fn ranges_are_found_where_linux_puts_them() {
    for cuts in [&[16][..], &[5, 11], &[1, 1, 14]] {
        let file = image();
        let mut bus = boot(&props(), raw(&file));
        let header = header(SECURE_ERASE, 0);
        let request = bus.submit(0, &[&header], &[cuts, &[1]].concat());
        let bytes = range(3, 8, 0);
        let mut rest = &bytes[..];
        for segment in request.segments.iter().filter(|segment| segment.writable) {
            let (part, more) = rest.split_at(rest.len().min(segment.len as usize));
            bus.ram().write(segment.address, part);
            rest = more;
        }
        bus.notify(0);
        assert!(bus.run_until(|bus| bus.queue(0).has_used()));
        let used = bus.queue(0).collect().unwrap();
        assert_eq!(Answer::of(bus.response(&request, used)).status, OK);
        let mut expected = pattern(SECTORS as usize * SECTOR);
        expected[3 * SECTOR..11 * SECTOR].fill(0);
        assert_eq!(contents(&file), expected);
    }
    let mut bus = boot(&props(), raw(&image()));
    let header = header(SECURE_ERASE, 0);
    for room in [15, 17, 32] {
        let answer = Answer::of(bus.request(0, &[&header], &[room, 1]));
        assert_eq!(answer.status, IOERR, "{room}");
    }
    let discard = Answer::of(bus.request(0, &[&self::header(DISCARD, 0)], &[16, 1]));
    assert_eq!(
        discard.status, IOERR,
        "that is for what Linux gets wrong alone"
    );
}
