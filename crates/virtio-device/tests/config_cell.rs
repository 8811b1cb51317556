//! The configuration space cell.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use virtio_device::ConfigCell;

fn read(cell: &ConfigCell, offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0x55; len];
    cell.read(offset, &mut bytes);
    bytes
}

#[test]
fn reads_past_the_end_give_ones() {
    let cell = ConfigCell::new([1, 2, 3]);
    assert_eq!((cell.len(), cell.is_empty()), (3, false));
    assert_eq!(read(&cell, 0, 3), [1, 2, 3]);
    assert_eq!(read(&cell, 2, 4), [3, 0xff, 0xff, 0xff]);
    for offset in [3, 4, 1 << 32, u64::MAX - 3, u64::MAX] {
        assert_eq!(read(&cell, offset, 8), [0xff; 8], "bug_38 at {offset:#x}");
    }
    assert!(ConfigCell::default().is_empty());
}

#[test]
fn only_changes_raise_the_generation() {
    let cell = ConfigCell::new([0; 4]);
    assert!(!cell.write(0, &[0; 4]));
    assert_eq!(cell.generation(), 0);
    assert!(cell.write(1, &[7]));
    assert_eq!(cell.generation(), 1);
    assert!(!cell.update(|_| false));
    assert!(cell.update(|bytes| {
        bytes[0] = 9;
        true
    }));
    assert_eq!(cell.generation(), 2);
    assert_eq!(&*cell.snapshot(), [9, 7, 0, 0]);
}

/// A driver of PCI, which sees eight bits, is between two fields meanwhile.
#[test]
fn the_generation_does_not_come_round() {
    let cell = ConfigCell::new([0; 8]);
    for read_first in [0, 4] {
        let before = cell.generation() as u8;
        read(&cell, read_first, 4);
        for value in 1..=255 {
            assert!(cell.write(0, &[value; 8]));
        }
        assert!(cell.write(0, &[0; 8]));
        assert_eq!(cell.generation() as u8, before.wrapping_add(1));
    }
}

#[test]
fn writes_stop_at_the_end() {
    let cell = ConfigCell::new([0; 4]);
    assert!(cell.write(3, &[1, 2, 3]));
    assert!(!cell.write(4, &[1]));
    assert!(!cell.write(usize::MAX, &[1]));
    assert_eq!(&*cell.snapshot(), [0, 0, 0, 1]);
}

/// Section 2.5.1: generation, fields, generation.
#[test]
fn a_driver_that_checks_the_generation_never_mixes_old_and_new() {
    let cell = Arc::new(ConfigCell::new([0; 8]));
    let stop = Arc::new(AtomicBool::new(false));
    let (writer, stopped) = (cell.clone(), stop.clone());
    let device = std::thread::spawn(move || {
        for value in (1..=200_u8).cycle() {
            writer.write(0, &[value; 8]);
            if stopped.load(Ordering::Relaxed) {
                return;
            }
        }
    });
    let mut consistent = 0;
    while consistent < 1000 {
        let before = cell.generation();
        let (low, high) = (read(&cell, 0, 4), read(&cell, 4, 4));
        if cell.generation() == before {
            assert_eq!(low, high);
            consistent += 1;
        }
    }
    stop.store(true, Ordering::Relaxed);
    device.join().unwrap();
}
