//! Root ports: bus numbers, windows, presence, secondary reset.
#![allow(missing_docs)]

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use common::{Toy, at, complex, read32, write16, write32};
use vm_pci::*;

fn port_at(root: &RootComplex, device: u8) -> BusId {
    let port = Arc::new(RootPort::new(RootPortConfig::new(device)).unwrap());
    root.attach_port(Slot::new(device, 0), port).unwrap()
}

/// A complex with ports at devices 2 and 3, and a toy behind the second, everything assigned.
fn machine() -> (Arc<RootComplex>, Arc<Toy>, BusId) {
    let (root, toy) = (complex(), Toy::new());
    port_at(&root, 2);
    let bus = port_at(&root, 3);
    root.attach(bus, Slot::new(0, 0), toy.clone()).unwrap();
    root.assign_bars().unwrap();
    (root, toy, bus)
}

#[test]
fn config_accesses_follow_the_bus_numbers() {
    let (root, _, _) = machine();
    assert_eq!(read32(&root, at(0, 3, 0), 0x18), 0x0002_0200);
    assert_eq!(read32(&root, at(2, 0, 0), 0), 0x5678_1234);
    for empty in [at(1, 0, 0), at(2, 1, 0), at(2, 0, 1), at(3, 0, 0)] {
        assert_eq!(read32(&root, empty, 0), u32::MAX, "{empty}");
    }
    // The guest renumbers.
    write32(&root, at(0, 3, 0), 0x18, 0x0009_0700);
    assert_eq!(read32(&root, at(2, 0, 0), 0), u32::MAX);
    assert_eq!(read32(&root, at(7, 0, 0), 0), 0x5678_1234);
    assert_eq!(read32(&root, at(8, 0, 0), 0), u32::MAX);
    // Numbers that make no sense, and those of another bridge.
    for numbers in [0, 0x0001_0200, 0x0505_0500, 0x00ff_0000, 0x0007_0707] {
        write32(&root, at(0, 3, 0), 0x18, numbers);
        assert_eq!(read32(&root, at(7, 0, 0), 0), u32::MAX, "{numbers:#x}");
        assert_eq!(read32(&root, at(0, 0, 0), 0), 0x29c0_8086);
    }
}

#[test]
fn bars_are_reached_only_through_open_windows() {
    let (root, toy, _) = machine();
    let (port, place) = (at(0, 3, 0), at(2, 0, 0));
    write16(&root, place, 4, 3);
    assert!(
        toy.take_mapped().is_empty(),
        "the port forwards nothing yet"
    );
    write16(&root, port, 4, 7);
    let mapped = toy.take_mapped();
    assert_eq!(
        mapped.iter().map(|(bar, _)| *bar).collect::<Vec<_>>(),
        [0, 1, 4]
    );
    assert!(mapped.iter().all(|(_, at)| at.is_some()));
    // Memory window closed, then open somewhere else, then back.
    let window = read32(&root, port, 0x20);
    for (value, expected) in [(0x0000_fff0, vec![(1, None)]), (window, vec![mapped[1]])] {
        write32(&root, port, 0x20, value);
        assert_eq!(toy.take_mapped(), expected, "{value:#x}");
    }
    write32(&root, port, 0x28, 0x81);
    write32(&root, port, 0x2c, 0x81);
    assert_eq!(toy.take_mapped(), [(4, None)]);
    write16(&root, port, 4, 2);
    assert_eq!(toy.take_mapped(), [(0, None)]);
}

#[test]
fn windows_decode_every_width() {
    let port = RootPort::new(RootPortConfig::new(1)).unwrap();
    let write = |at: u16, data: &[u8]| assert!(!port.write_config(at, data).reset);
    assert_eq!(port.bridge_decode(), BridgeDecode::default());
    write(4, &[3, 0]);
    // After reset base and limit are both zero: the lowest megabyte and 4 KiB of ports.
    assert_eq!(port.bridge_decode().memory, Some(0..=0xf_ffff));
    write(0x1c, &[0xd0, 0xe0]);
    write(0x20, &[0x00, 0xc0, 0x10, 0xc0]);
    write(0x24, &[0x01, 0x00, 0xf1, 0xff]);
    write(0x28, &[1, 0, 0, 0, 2, 0, 0, 0]);
    let decode = port.bridge_decode();
    assert_eq!(decode.io, Some(0xd000..=0xefff));
    assert_eq!(decode.memory, Some(0xc000_0000..=0xc01f_ffff));
    assert_eq!(decode.prefetchable, Some(0x1_0000_0000..=0x2_ffff_ffff));
    let range = |address, size| IoRange::new(IoAddr::Mmio(address), size).unwrap();
    assert!(decode.forwards(range(0xc01f_f000, 0x1000)));
    assert!(!decode.forwards(range(0xc01f_f000, 0x2000)));
    assert!(!decode.forwards(IoRange::new(IoAddr::Pio(0xf000), 1).unwrap()));
    write(4, &[0, 0]);
    assert_eq!(port.bridge_decode().prefetchable, None);
}

#[test]
fn secondary_reset_reaches_what_is_behind() {
    let (root, toy, _) = machine();
    let (root_toy, control) = (Toy::new(), 0x3e);
    root.attach(BusId::ROOT, Slot::new(9, 0), root_toy.clone())
        .unwrap();
    for value in [0x40, 0x40, 0, 0x40] {
        write16(&root, at(0, 3, 0), control, value);
    }
    write16(&root, at(0, 2, 0), control, 0x40);
    assert_eq!(
        toy.resets.load(Ordering::Relaxed),
        2,
        "on the rising edge only"
    );
    assert_eq!(root_toy.resets.load(Ordering::Relaxed), 0);
    assert_eq!(
        read32(&root, at(0, 3, 0), 0x18),
        0x0002_0200,
        "the port itself keeps its state"
    );
}

#[test]
fn presence_is_shown_in_slot_and_link() {
    let (root, _, bus) = machine();
    let express = 0x54;
    let shown = |device| {
        let slot = read32(&root, at(0, device, 0), express + 0x18) >> 16 & 0x40 != 0;
        let link = read32(&root, at(0, device, 0), express + 0x10) >> 16 & 0x2000 != 0;
        (slot, link)
    };
    assert_eq!((shown(2), shown(3)), ((false, false), (true, true)));
    root.reset();
    assert_eq!(shown(3), (true, true));
    assert_eq!(
        read32(&root, at(0, 3, 0), express + 0x14) >> 19,
        3,
        "slot number"
    );
    root.detach(bus, 0).unwrap();
    assert_eq!(shown(3), (false, false));
}

#[test]
fn only_device_zero_exists_behind_a_port() {
    let (root, _, bus) = machine();
    let slot = Slot::new(1, 0);
    assert_eq!(
        root.attach(bus, slot, Toy::new()),
        Err(BusError::BehindPort(slot))
    );
    assert_eq!(root.free_device(bus), Err(BusError::Full));
    assert_eq!(root.attach(bus, Slot::new(0, 7), Toy::new()), Ok(()));
    assert_eq!(
        root.detach(BusId::ROOT, 3).err(),
        Some(BusError::InUse(Slot::new(3, 0)))
    );
}

#[test]
fn a_port_with_messages_has_one_vector_in_bar0() {
    let sink = common::Sink::new();
    let msi = Some(sink.clone() as Arc<dyn MsiSink>);
    let port = RootPort::new(RootPortConfig {
        msi,
        ..RootPortConfig::new(1)
    })
    .unwrap();
    assert_eq!(
        (port.info().vectors, port.info().bars.at(0).map(Bar::size)),
        (1, Some(0x1000))
    );
    let mut data = [0; 4];
    port.read_bar(0, 12, &mut data);
    assert_eq!(data, [1, 0, 0, 0]);
}
