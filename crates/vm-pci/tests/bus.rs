//! The root complex: slots, configuration mechanisms, windows, moving and overlapping BARs.
#![allow(missing_docs)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Toy, at, complex, read32, write16, write32};
use vm_device::bus::{MmioAddress, PioAddress};
use vm_device::device_manager::{IoManager, MmioManager, PioManager};
use vm_pci::*;

const ECAM: u64 = 0xe000_0000;

fn machine() -> (Arc<RootComplex>, IoManager) {
    let (root, mut io) = (complex(), IoManager::new());
    root.register(&mut io, Some((ECAM, 4))).unwrap();
    (root, io)
}

fn toy_at(root: &RootComplex, device: u8) -> Arc<Toy> {
    let toy = Toy::new();
    root.attach(BusId::ROOT, Slot::new(device, 0), toy.clone())
        .unwrap();
    toy
}

#[test]
fn empty_places_read_ones_and_the_host_bridge_is_found() {
    let (root, io) = machine();
    assert_eq!(read32(&root, at(0, 0, 0), 0), 0x29c0_8086);
    for place in [at(0, 0, 1), at(0, 1, 0), at(1, 0, 0), at(255, 31, 7)] {
        assert_eq!(read32(&root, place, 0), u32::MAX);
        write32(&root, place, 4, u32::MAX);
    }
    let mut id = [0; 2];
    io.mmio_read(MmioAddress(ECAM), &mut id).unwrap();
    assert_eq!(id, [0x86, 0x80]);
}

#[test]
fn slots_are_checked() {
    let root = complex();
    let attach =
        |device, function| root.attach(BusId::ROOT, Slot::new(device, function), Toy::new());
    assert_eq!(attach(0, 0), Err(BusError::InUse(Slot::new(0, 0))));
    assert_eq!(attach(3, 1), Err(BusError::NoFunctionZero(3)));
    assert_eq!(root.free_device(BusId::ROOT), Ok(1));
    (1..32).try_for_each(|device| attach(device, 0)).unwrap();
    assert_eq!(root.free_device(BusId::ROOT), Err(BusError::Full));
    assert_eq!(
        root.detach(BusId::ROOT, 0).err(),
        Some(BusError::InUse(Slot::new(0, 0)))
    );
    assert_eq!(
        root.detach(BusId::ROOT, 9).map(|functions| functions.len()),
        Ok(1)
    );
    assert_eq!(
        root.detach(BusId::ROOT, 9).err(),
        Some(BusError::Empty(Slot::new(9, 0)))
    );
    assert_eq!(root.free_device(BusId::ROOT), Ok(9));
}

#[test]
fn the_multi_function_bit_follows_the_slot() {
    let root = complex();
    toy_at(&root, 5);
    let header = |function| {
        let mut byte = [0];
        root.read_config(at(0, 5, function), 0x0e, &mut byte);
        (
            byte[0],
            read32(&root, at(0, 5, function), 0x0c) >> 16 & 0xff,
        )
    };
    assert_eq!(header(0), (0, 0));
    root.attach(BusId::ROOT, Slot::new(5, 3), Toy::new())
        .unwrap();
    assert_eq!([header(0), header(3)], [(0x80, 0x80); 2]);
    assert_eq!(read32(&root, at(0, 5, 1), 0), u32::MAX);
    assert_eq!(root.detach(BusId::ROOT, 5).unwrap().len(), 2);
}

#[test]
fn config_ports_take_bytes_and_words_in_any_lane() {
    let (root, io) = machine();
    toy_at(&root, 2);
    let select = |address: u32| {
        io.pio_write(PioAddress(0xcf8), &address.to_le_bytes())
            .unwrap()
    };
    let read = |port, length| {
        let mut data = vec![0; length];
        io.pio_read(PioAddress(port), &mut data).unwrap();
        data
    };
    select(0x8000_1000);
    assert_eq!(read(0xcf8, 4), [0x00, 0x10, 0, 0x80]);
    assert_eq!(read(0xcfc, 4), [0x34, 0x12, 0x78, 0x56]);
    assert_eq!(read(0xcfe, 2), [0x78, 0x56]);
    assert_eq!(read(0xcfd, 1), [0x12]);
    // Out of the dword, and narrow accesses to the address.
    assert_eq!(read(0xcfe, 1).len(), 1);
    assert_eq!(read(0xcf8, 1), [0xff]);
    io.pio_write(PioAddress(0xcfa), &[0xff, 0xff]).unwrap();
    assert_eq!(read(0xcf8, 4), [0x00, 0x10, 0, 0x80]);
    select(0x8000_103c);
    io.pio_write(PioAddress(0xcfc), &[9]).unwrap();
    assert_eq!(read(0xcfc, 2), [9, 1]);
    // Low bits of the address name a byte or word as the port does.
    select(0x8000_1002);
    assert_eq!(read(0xcfc, 2), [0x78, 0x56]);
    assert_eq!(read(0xcfe, 2), [0x78, 0x56]);
    select(0x8000_1001);
    assert_eq!(read(0xcfc, 1), [0x12]);
    // Disabled, and reserved bits of the address.
    select(0x7fff_ffff);
    assert_eq!(read(0xcf8, 4), [0xff, 0xff, 0xff, 0]);
    assert_eq!(read(0xcfc, 4), [0xff; 4]);
}

#[test]
fn accesses_out_of_a_dword_are_dropped() {
    use vm_device::DevicePio;
    let root = complex();
    let ports = ConfigPorts::new(root);
    ports.pio_write(PioAddress(0xcf8), 0, &0x8000_0000_u32.to_le_bytes());
    for offset in 0..16 {
        for length in 0..=8 {
            let mut data = vec![0; length];
            ports.pio_read(PioAddress(0xcf8), offset, &mut data);
            let inside = (4..8).contains(&offset) && usize::from(offset - 4) + length <= 4;
            let registers = offset == 0 && length == 4 || offset == 1;
            assert!(inside || registers || data.iter().all(|byte| *byte == 0xff));
            ports.pio_write(PioAddress(0xcf8), offset.max(1), &data);
        }
    }
}

#[test]
fn port_0xcf9_asks_for_a_reset() {
    use vm_device::DevicePio;
    let count = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&count);
    let ports = ConfigPorts::with_reset(complex(), move || {
        seen.fetch_add(1, Ordering::Relaxed);
    });
    let base = PioAddress(ConfigPorts::BASE);
    for control in [0x00, 0x02, 0x06, 0x0e] {
        ports.pio_write(base, 1, &[control]);
    }
    ports.pio_write(base, 1, &[6, 6]);
    assert_eq!(count.load(Ordering::Relaxed), 2);
}

#[test]
fn ecam_reaches_every_register_and_no_other_function() {
    let (root, io) = machine();
    toy_at(&root, 31);
    let place = ECAM | 31 << 15;
    let mut data = [0; 4];
    io.mmio_read(MmioAddress(place), &mut data).unwrap();
    assert_eq!(data, [0x34, 0x12, 0x78, 0x56]);
    let mut data = [0; 8];
    io.mmio_read(MmioAddress(place + 0xffc), &mut data).unwrap();
    assert_eq!(data, [0xff; 8], "the access leaves the function");
    io.mmio_read(MmioAddress(place + 0x100), &mut data).unwrap();
    assert_eq!(data, [0; 8], "no extended capabilities");
    io.mmio_read(MmioAddress(ECAM + 0x100), &mut data).unwrap();
    assert_eq!(data, [0xff; 8], "the host bridge is conventional");
    assert!(
        io.mmio_read(MmioAddress(ECAM + (4 << 20)), &mut data)
            .is_err()
    );
}

#[test]
fn bars_move_and_the_function_hears_of_it() {
    let (root, io) = machine();
    let (toy, place) = (toy_at(&root, 1), at(0, 1, 0));
    write32(&root, place, 0x10, 0xc100);
    write32(&root, place, 0x14, 0xc000_0000);
    write32(&root, place, 0x24, 0x80);
    write32(&root, place, 0x20, 0x10_0000);
    assert!(toy.take_mapped().is_empty());
    write16(&root, place, 4, 3);
    let everywhere = [
        (0, Some(IoAddr::Pio(0xc100))),
        (1, Some(IoAddr::Mmio(0xc000_0000))),
        (4, Some(IoAddr::Mmio(0x80_0010_0000))),
    ];
    assert_eq!(toy.take_mapped(), everywhere);
    let mut data = [0; 4];
    io.mmio_read(MmioAddress(0x80_0010_3ffc), &mut data)
        .unwrap();
    io.pio_read(PioAddress(0xc11e), &mut data[..2]).unwrap();
    assert_eq!(data, [0x10, 0x10, 0x14, 0x14]);
    assert_eq!(toy.take_accesses(), [(4, 0x3ffc, 4), (0, 0x1e, 2)]);
    // An access across the end belongs to no BAR.
    io.mmio_read(MmioAddress(0x80_0010_3ffe), &mut data)
        .unwrap();
    io.mmio_write(MmioAddress(0xc000_0ffe), &[0; 4]).unwrap();
    assert_eq!(data, [0xff; 4]);

    write32(&root, place, 0x14, 0xc000_2000);
    assert_eq!(
        toy.take_mapped(),
        [(1, None), (1, Some(IoAddr::Mmio(0xc000_2000)))]
    );
    io.mmio_read(MmioAddress(0xc000_0000), &mut data).unwrap();
    assert_eq!(data, [0xff; 4]);
    assert!(toy.take_accesses().is_empty());

    // Out of the windows: decoded by the function, reached by nobody.
    write32(&root, place, 0x14, 0x1000);
    assert_eq!(toy.take_mapped(), [(1, None)]);
    write16(&root, place, 4, 0);
    assert_eq!(toy.take_mapped(), [(0, None), (4, None)]);
}

#[test]
fn bug_39_overlapping_bars_have_one_owner() {
    let (root, io) = machine();
    let toys = [toy_at(&root, 1), toy_at(&root, 2)];
    for (device, address) in [(1, 0xc000_0000), (2, 0xc000_1000)] {
        write32(&root, at(0, device, 0), 0x14, address);
        write16(&root, at(0, device, 0), 4, 2);
    }
    toys.iter().for_each(|toy| drop(toy.take_mapped()));
    write32(&root, at(0, 2, 0), 0x14, 0xc000_0000);
    assert_eq!(toys[1].take_mapped(), [(1, None)]);
    io.mmio_write(MmioAddress(0xc000_0000), &[0; 4]).unwrap();
    assert_eq!(
        (toys[0].take_accesses().len(), toys[1].take_accesses().len()),
        (1, 0)
    );
    // The other one comes back when the first moves away, even to where it came from.
    write32(&root, at(0, 1, 0), 0x14, 0xc000_1000);
    assert_eq!(
        toys[1].take_mapped(),
        [(1, Some(IoAddr::Mmio(0xc000_0000)))]
    );
    io.mmio_write(MmioAddress(0xc000_0000), &[0; 4]).unwrap();
    assert_eq!(
        (toys[0].take_accesses().len(), toys[1].take_accesses().len()),
        (0, 1)
    );
}

#[test]
fn flr_resets_the_function_and_unmaps_it() {
    let root = complex();
    let (toy, place) = (toy_at(&root, 1), at(0, 1, 0));
    write32(&root, place, 0x14, 0xc000_0000);
    write16(&root, place, 4, 2);
    toy.take_mapped();
    write16(&root, place, common::EXPRESS_AT + 8, 0x8000);
    assert_eq!(toy.resets.load(Ordering::Relaxed), 1);
    assert_eq!(toy.take_mapped(), [(1, None)]);
    assert_eq!(read32(&root, place, 0x14), 0);
}

#[test]
fn detaching_unmaps_and_lets_go() {
    let (root, io) = machine();
    let (toy, place) = (toy_at(&root, 1), at(0, 1, 0));
    write32(&root, place, 0x14, 0xc000_0000);
    write16(&root, place, 4, 2);
    toy.take_mapped();
    drop(root.detach(BusId::ROOT, 1).unwrap());
    assert_eq!(toy.take_mapped(), [(1, None)]);
    let mut data = [0; 4];
    io.mmio_read(MmioAddress(0xc000_0000), &mut data).unwrap();
    assert_eq!((data, read32(&root, place, 0)), ([0xff; 4], u32::MAX));
    assert_eq!(Arc::strong_count(&toy), 1, "the complex keeps nothing");
    // Plugged in again with its registers as they were, it is mapped at once.
    root.attach(BusId::ROOT, Slot::new(1, 0), toy.clone())
        .unwrap();
    assert_eq!(toy.take_mapped(), [(1, Some(IoAddr::Mmio(0xc000_0000)))]);
}

#[test]
fn assigned_bars_are_aligned_apart_and_in_their_windows() {
    let root = complex();
    let toys: Vec<_> = (1..12).map(|device| toy_at(&root, device)).collect();
    root.assign_bars().unwrap();
    for device in 1..12 {
        write16(&root, at(0, device, 0), 4, 3);
    }
    let mapped: Vec<_> = toys.iter().flat_map(|toy| toy.take_mapped()).collect();
    // All 33 are reachable, so none overlaps another and all are in windows.
    assert_eq!(mapped.len(), 33);
    assert!(mapped.iter().all(|(bar, at)| match (bar, at) {
        (0, Some(IoAddr::Pio(port))) => port % 32 == 0,
        (1, Some(IoAddr::Mmio(address))) =>
            address % 0x1000 == 0 && common::MMIO32.contains(address),
        (4, Some(IoAddr::Mmio(address))) =>
            address % 0x4000 == 0 && common::MMIO64.contains(address),
        _ => false,
    }));
    root.reset();
    root.assign_bars().unwrap();
    let again = read32(&root, at(0, 11, 0), 0x14);
    root.assign_bars().unwrap();
    assert_eq!(read32(&root, at(0, 11, 0), 0x14), again);
}

#[test]
fn windows_that_cannot_be_or_are_too_small_are_refused() {
    let make = |windows| {
        let bridge = Arc::new(HostBridge::new(HostBridge::Q35).unwrap());
        RootComplex::new(windows, bridge).map(Arc::new)
    };
    let none = Windows::default();
    #[allow(clippy::reversed_empty_ranges)]
    for wrong in [
        Windows {
            pio: Some(2..=1),
            ..none.clone()
        },
        Windows {
            pio: Some(0..=u16::MAX),
            ..none.clone()
        },
        Windows {
            mmio32: Some(0..=1 << 32),
            ..none.clone()
        },
        Windows {
            mmio64: Some(0..=u64::MAX),
            ..none.clone()
        },
        Windows {
            mmio64: Some(2..=1),
            ..none.clone()
        },
    ] {
        assert!(matches!(make(wrong).err(), Some(BusError::Window(_))));
    }
    let tight = Windows {
        pio: Some(0xc000..=0xc01f),
        mmio32: Some(0xc000_0000..=0xc000_0fff),
        mmio64: Some(1 << 40..=(1 << 40) + 0x3fff),
    };
    let root = make(tight).unwrap();
    toy_at(&root, 1);
    assert_eq!(root.assign_bars(), Ok(()));
    toy_at(&root, 2);
    assert!(matches!(root.assign_bars(), Err(BusError::NoRoom { .. })));
    let root = make(none.clone()).unwrap();
    toy_at(&root, 1);
    assert!(matches!(root.assign_bars(), Err(BusError::Window(_))));
    let up_to_the_top = Windows {
        mmio64: Some(std::ops::RangeInclusive::new(0xffff << 48, u64::MAX)),
        pio: Some(0xc000..=u16::MAX),
        mmio32: Some(0xc000_0000..=u32::MAX.into()),
    };
    let root = make(up_to_the_top).unwrap();
    toy_at(&root, 1);
    assert_eq!(root.assign_bars(), Ok(()));
}
