//! A CD-ROM drive and its tray.

mod common;

use std::sync::{Arc, Mutex};

use common::*;
use scsi_target::{TrayError, UnitError};
use testkit::TestBus;
use virtio_scsi::virtio_device::Features;
use virtio_scsi::{Scsi, ScsiHandle};

fn drive(
    file: Option<&std::fs::File>,
) -> (TestBus, ScsiHandle<guest_io::block::RawImage>, Arc<Unit>) {
    let scsi = Scsi::new(&Default::default()).unwrap();
    let (handle, unit) = (scsi.handle(), cdrom(file));
    handle.add(at(1, 0), unit.clone()).unwrap();
    let mut bus = TestBus::new(scsi);
    bus.boot(Features::VERSION_1 | F_HOTPLUG | F_CHANGE);
    settle(&mut bus, 1, 0);
    (bus, handle, unit)
}

#[test]
fn a_disc_is_read_in_blocks_of_2048_and_never_written() {
    let file = image();
    let (mut bus, ..) = drive(Some(&file));
    let data = command(&mut bus, &read10(3, 2), &[], 4096);
    assert_eq!(data.good().data, pattern(5 * 2048)[3 * 2048..]);
    let capacity = command(&mut bus, &[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[], 8);
    assert_eq!(capacity.good().data, [0, 0, 1, 0xff, 0, 0, 8, 0]);
    let refused = command(&mut bus, &write10(0, 1), &[0; 2048], 0);
    assert_eq!(refused.refused(), (7, 0x2700));
    // What only disks know.
    let unmap = command(&mut bus, &[0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[], 0);
    assert_eq!(unmap.refused(), (5, 0x2000));
    let inquiry = command(&mut bus, &[0x12, 0, 0, 0, 36, 0], &[], 36);
    assert_eq!(inquiry.good().data[..2], [5, 0x80]);
}

#[test]
fn a_disc_has_a_table_of_contents() {
    let (mut bus, ..) = drive(Some(&image()));
    let toc = command(&mut bus, &[0x43, 0, 0, 0, 0, 0, 0, 0, 255, 0], &[], 255);
    let expected = [
        0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0, 0, 0x14, 0xaa, 0, 0, 0, 2, 0,
    ];
    assert_eq!(toc.good().data[..20], expected);
    let msf = command(&mut bus, &[0x43, 2, 0, 0, 0, 0, 0xaa, 0, 255, 0], &[], 255);
    assert_eq!(
        msf.good().data[..12],
        [0, 10, 1, 1, 0, 0x14, 0xaa, 0, 0, 0, 8, 62]
    );
    let session = command(&mut bus, &[0x43, 0, 1, 0, 0, 0, 0, 0, 12, 0], &[], 12);
    assert_eq!(
        session.good().data,
        [0, 10, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0]
    );
    let bad = command(&mut bus, &[0x43, 0, 0, 0, 0, 0, 9, 0, 255, 0], &[], 255);
    assert_eq!(bad.refused(), (5, 0x2400));
    let info = command(&mut bus, &[0x51, 0, 0, 0, 0, 0, 0, 0, 34, 0], &[], 34);
    assert_eq!(info.good().data[..4], [0, 32, 0x0e, 1]);
    let config = command(&mut bus, &[0x46, 0, 0, 0, 0, 0, 0, 0, 255, 0], &[], 255);
    assert_eq!(config.good().data[6..8], [0, 8], "a CD-ROM");
}

#[test]
fn an_empty_drive_is_not_ready() {
    let (mut bus, ..) = drive(None);
    assert_eq!(command(&mut bus, &[0; 6], &[], 0).refused(), (2, 0x3a01));
    assert_eq!(
        command(&mut bus, &read10(0, 1), &[], 2048).refused(),
        (2, 0x3a01)
    );
    let config = command(&mut bus, &[0x46, 0, 0, 0, 0, 0, 0, 0, 8, 0], &[], 8);
    assert_eq!(config.good().data[6..8], [0, 0]);
}

#[test]
fn a_medium_is_changed_by_the_host() {
    let first = image();
    let (mut bus, handle, unit) = drive(Some(&first));
    let moves = Arc::new(Mutex::new(Vec::new()));
    let seen = moves.clone();
    unit.watch_tray(move |open| seen.lock().unwrap().push(open));
    command(&mut bus, &read10(0, 1), &[], 2048).good();
    assert_eq!(unit.remove_medium(), Err(TrayError::Closed));
    unit.open_tray(false).unwrap();
    assert_eq!(
        command(&mut bus, &read10(0, 1), &[], 2048).refused(),
        (2, 0x3a02)
    );
    assert_eq!(unit.remove_medium(), Ok(true));
    handle.media_changed();
    bus.run();
    let second = tempfile::tempfile().unwrap();
    second.set_len(64 << 10).unwrap();
    unit.insert_medium(raw(&second).read_only(true)).unwrap();
    let twice = unit.insert_medium(raw(&first).read_only(true));
    assert!(matches!(twice, Err(UnitError::Tray(TrayError::Occupied))));
    unit.close_tray().unwrap();
    let event = command(&mut bus, &[0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8, 0], &[], 8);
    assert_eq!(event.refused(), (6, 0x2800));
    let event = command(&mut bus, &[0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8, 0], &[], 8);
    assert_eq!(event.good().data, [0, 6, 4, 0x10, 2, 2, 0, 0]);
    let data = command(&mut bus, &read10(0, 1), &[], 2048);
    assert_eq!(data.good().data, [0; 2048]);
    assert_eq!(*moves.lock().unwrap(), [true, false]);
    // Past what is there now, though the first disc had it.
    assert_eq!(
        command(&mut bus, &read10(100, 1), &[], 2048).refused(),
        (5, 0x2100)
    );
}

#[test]
fn the_guest_locks_and_ejects() {
    let (mut bus, _, unit) = drive(Some(&image()));
    command(&mut bus, &[0x1e, 0, 0, 0, 1, 0], &[], 0).good();
    assert!(unit.is_tray_locked());
    let eject = [0x1b, 0, 0, 0, 2, 0];
    assert_eq!(command(&mut bus, &eject, &[], 0).refused(), (5, 0x5302));
    assert_eq!(unit.open_tray(false), Err(TrayError::Locked));
    assert_eq!(command(&mut bus, &[0; 6], &[], 0).refused(), (6, 0x5a01));
    let event = command(&mut bus, &[0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8, 0], &[], 8);
    assert_eq!(event.good().data[4], 1, "asked to eject");
    command(&mut bus, &[0x1e, 0, 0, 0, 0, 0], &[], 0).good();
    command(&mut bus, &eject, &[], 0).good();
    assert!(unit.is_tray_open());
    let status = command(&mut bus, &[0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0], &[], 8);
    assert_eq!(status.good().data[1], 0x10);
    command(&mut bus, &[0x1b, 0, 0, 0, 3, 0], &[], 0).good();
    assert!(!unit.is_tray_open());
    // A fixed disk has no tray.
    let fixed = disk(&image());
    assert_eq!(fixed.open_tray(true), Err(TrayError::NotRemovable));
}

/// A lock keeps a medium in, not out.
#[test]
fn a_tray_that_was_forced_open_is_loaded_though_locked() {
    let (mut bus, _, unit) = drive(Some(&image()));
    command(&mut bus, &[0x1e, 0, 0, 0, 1, 0], &[], 0).good();
    unit.open_tray(true).unwrap();
    let (eject, load) = ([0x1b, 0, 0, 0, 2, 0], [0x1b, 0, 0, 0, 3, 0]);
    command(&mut bus, &eject, &[], 0).good();
    assert!(unit.is_tray_open(), "it is already");
    command(&mut bus, &load, &[], 0).good();
    assert!(!unit.is_tray_open() && unit.is_tray_locked());
    settle(&mut bus, 1, 0);
    assert_eq!(command(&mut bus, &eject, &[], 0).refused(), (5, 0x5302));
}

#[test]
fn a_drive_tells_of_no_parameters() {
    let (mut bus, handle, _) = drive(Some(&image()));
    let buffer = bus.submit(EVENT, &[], &[16]);
    bus.notify(EVENT);
    handle.resize(address(1, 0), 64 << 10).unwrap();
    bus.run();
    assert!(bus.queue(EVENT).collect().is_none(), "{buffer:?}");
}
