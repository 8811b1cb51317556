//! What a function looks like, compared with the registers that guests saw under QEMU 11.1.
//!
//! Left out are the registers that firmware and drivers had written by then: command, BAR addresses
//! and interrupt line.

mod support;

use support::*;
use virtio_device::DeviceId;
use virtio_device::props::{OnOffAuto, PropError, Props};
use virtio_pci::virtio_bus::VirtioProps;
use virtio_pci::vm_pci::{BarKind, PciFunction};
use virtio_pci::{Error, PciProps, Place};

struct Seen {
    id: DeviceId,
    queues: usize,
    config: usize,
    /// Device ID and class of the transitional device, size of its BAR0, number of vectors.
    transitional: (u16, u32, u64, u8),
}

const SEEN: &[Seen] = &[
    seen(DeviceId::BLOCK, 1, 60, (0x1001, 0x010000, 128, 2)),
    seen(DeviceId::BLOCK, 4, 60, (0x1001, 0x010000, 128, 5)),
    seen(DeviceId::ENTROPY, 1, 0, (0x1005, 0x00ff00, 32, 2)),
    seen(DeviceId::CONSOLE, 64, 12, (0x1003, 0x078000, 64, 2)),
    seen(DeviceId::NET, 3, 8, (0x1000, 0x020000, 32, 4)),
    seen(DeviceId::SCSI, 6, 36, (0x1004, 0x010000, 64, 7)),
    seen(DeviceId::BALLOON, 3, 16, (0x1002, 0x00ff00, 64, 2)),
    seen(DeviceId::P9, 1, 11, (0x1009, 0x000200, 64, 2)),
];

const fn seen(
    id: DeviceId,
    queues: usize,
    config: usize,
    transitional: (u16, u32, u64, u8),
) -> Seen {
    Seen {
        id,
        queues,
        config,
        transitional,
    }
}

/// From 0x40 on, on a root bus; byte 0x9a is the number of vectors less one.
const ROOT_BUS: &str = "\
    09001001040000000000000000100000 09401003040000000010000000100000 \
    09501004040000000020000000100000 0960140204000000003000000010000004000000 \
    0970140500000000000000000000000000000000 118400000100000001080000";

/// From 0x40 on, behind a root port; byte 0xde is the number of vectors less one.
const ROOT_PORT: &str = "\
    10000200 20800010 00000000 11040000 00001100 00000000 00000000 00000000 \
    00000000 00003000 00000000 00000000 00000000 00000000 00000000 \
    01400300 00000000 \
    097c1001040000000000000000100000 09841003040000000010000000100000 \
    09941004040000000020000000100000 09a4140204000000003000000010000004000000 \
    09b4140500000000000000000000000000000000 11c800000100000001080000";

impl Seen {
    fn board(&self, place: Place, props: PciProps) -> Board {
        let toy = Toy::new(self.id, vec![256; self.queues], &vec![0; self.config]);
        Board::with(Options {
            place,
            props,
            toy,
            ..Options::default()
        })
    }
}

#[test]
fn on_a_root_bus_it_is_byte_for_byte_transitional() {
    for seen in SEEN {
        let (device, class, bar0, vectors) = seen.transitional;
        let board = seen.board(Place::RootBus, PciProps::default());
        let mut want = header(device, 0, class, seen.id.0);
        (want[0x10], want[0x34]) = (0x01, 0x98);
        want.extend(bytes(ROOT_BUS));
        want[0x9a] = vectors - 1;
        want.resize(0x100, 0);
        assert_eq!(board.config(), want, "{}", seen.id);
        let bar0 = board.transport.info().bars.at(0).map(|bar| bar.size()) == Some(bar0);
        assert!(bar0, "{}", seen.id);
    }
}

#[test]
fn behind_a_root_port_it_is_byte_for_byte_modern() {
    for seen in SEEN {
        let (_, class, _, vectors) = seen.transitional;
        let board = seen.board(Place::RootPort, PciProps::default());
        let mut want = header(0x1040 + seen.id.0, 1, class, 0x1100);
        want[0x34] = 0xdc;
        want.extend(bytes(ROOT_PORT));
        want[0xde] = vectors - 1;
        want.resize(0x100, 0);
        assert_eq!(board.config(), want, "{}", seen.id);
        assert_eq!(board.transport.info().config_size.bytes(), 0x1000);
    }
}

#[test]
fn modern_only_on_a_root_bus_differs_in_ids_and_bar0() {
    let props = PciProps::default().disable_legacy(OnOffAuto::On);
    let board = SEEN[0].board(Place::RootBus, props);
    let mut want = header(0x1042, 1, 0x010000, 0x1100);
    want[0x34] = 0x98;
    assert_eq!(board.config()[..0x40], want);
    assert_eq!(board.transport.info().bars.at(0), None);
}

#[test]
fn bars_have_qemus_kinds_and_sizes() {
    let bars = SEEN[2]
        .board(Place::RootBus, PciProps::default())
        .transport
        .info()
        .bars;
    let list: Vec<_> = bars
        .iter()
        .map(|(index, bar)| (index, bar.kind(), bar.size(), bar.is_prefetchable()))
        .collect();
    let want = [
        (0, BarKind::Io, 0x20, false),
        (1, BarKind::Memory32, 0x1000, false),
        (4, BarKind::Memory64, 0x4000, true),
    ];
    assert_eq!(list, want);
}

#[test]
fn properties_change_the_looks() {
    let page = SEEN[2].board(Place::RootBus, PciProps::default().page_per_vq(true));
    let bar = page.transport.info().bars.at(4).unwrap();
    assert_eq!(bar.size(), 8 << 20, "1024 pages from 0x3000 on");
    assert_eq!(page.config()[0x80..0x84], [0, 0x10, 0, 0], "multiplier");

    let pio = SEEN[2].board(Place::RootPort, PciProps::default().modern_pio_notify(true));
    assert_eq!(pio.transport.info().bars.at(2).unwrap().size(), 4);
    let capability = bytes("09b4140202000000 0000000004000000 00000000");
    assert_eq!(pio.config()[0xc8..0xdc], capability);

    let none = SEEN[2].board(Place::RootBus, PciProps::default().vectors(Some(0)));
    assert_eq!(none.transport.info().bars.at(1), None);
    assert_eq!(none.config()[0x34], 0x84);

    let many = SEEN[2].board(Place::RootBus, PciProps::default().vectors(Some(2048)));
    assert_eq!(many.transport.info().vectors, 2048);
    assert_eq!(many.transport.info().bars.at(1).unwrap().size(), 0x1_0000);
}

#[test]
fn a_legacy_device_has_no_modern_structures() {
    let props = PciProps::default().disable_modern(true);
    let board = SEEN[0].board(Place::RootBus, props);
    let info = board.transport.info();
    assert_eq!((info.identity.device, info.identity.revision), (0x1001, 0));
    assert_eq!(info.bars.at(4), None);
    assert_eq!(board.config()[0x34], 0x40, "MSI-X alone");
    assert_eq!(board.config()[0x41], 0);
}

#[test]
fn contradictions_are_refused_by_name() {
    let refused = |place, id, props: PciProps| {
        let toy = Toy::new(DeviceId(id), vec![8], &[]);
        let options = Options {
            place,
            props,
            toy,
            ..Options::default()
        };
        match Board::try_with(options).err().expect("refused") {
            Error::Property(PropError::Value { name, .. }) => name,
            other => panic!("{other}"),
        }
    };
    let props = PciProps::default;
    let neither = props().disable_modern(true).disable_legacy(OnOffAuto::On);
    assert_eq!(refused(Place::RootBus, 2, neither), "disable-modern");
    let neither = props().disable_modern(true);
    assert_eq!(refused(Place::RootPort, 2, neither), "disable-modern");
    let legacy = props().disable_legacy(OnOffAuto::Off);
    assert_eq!(refused(Place::RootBus, 42, legacy), "disable-legacy");
    let vectors = props().vectors(Some(2049));
    assert_eq!(refused(Place::RootBus, 2, vectors), "vectors");
}

#[test]
fn drivers_that_know_of_no_iommu_are_not_offered_one() {
    let made = |place, props| {
        Board::try_with(Options {
            place,
            props,
            virtio: VirtioProps::default().iommu_platform(true),
            ..Options::default()
        })
    };
    let auto = PciProps::default;
    let transitional = auto().disable_legacy(OnOffAuto::Off);
    let legacy = auto().disable_modern(true);
    for (place, props) in [
        (Place::RootBus, auto()),
        (Place::RootPort, transitional),
        (Place::RootBus, legacy),
    ] {
        let error = made(place, props).err().expect("refused").to_string();
        assert!(error.contains("'iommu_platform': 'on'"), "{error}");
    }
    let modern = auto().disable_legacy(OnOffAuto::On);
    for (place, props) in [(Place::RootPort, auto()), (Place::RootBus, modern)] {
        assert!(made(place, props).is_ok());
    }
}

#[test]
fn what_pci_has_no_number_or_room_for_is_refused() {
    for toy in [
        Toy::new(DeviceId(64), vec![8], &[]),
        Toy::new(DeviceId(42), vec![8; 1025], &[]),
    ] {
        let options = Options {
            toy,
            ..Options::default()
        };
        assert!(matches!(Board::try_with(options), Err(Error::Device(_))));
    }
}

#[test]
fn defaults_are_qemus() {
    let help = PciProps::default().describe();
    let shown: Vec<_> = help.iter().map(|p| (p.name, p.value.as_str())).collect();
    let want = [
        ("disable-legacy", "auto"),
        ("disable-modern", "off"),
        ("vectors", ""),
        ("ioeventfd", "on"),
        ("page-per-vq", "off"),
        ("modern-pio-notify", "off"),
        ("addr", ""),
    ];
    assert_eq!(shown, want);
    let unset = PciProps::default().vectors(Some(u32::MAX));
    assert_eq!(
        SEEN[2]
            .board(Place::RootBus, unset)
            .transport
            .info()
            .vectors,
        2
    );
}

/// The first 64 bytes but what is assigned.
fn header(device: u16, revision: u8, class: u32, subsystem: u16) -> Vec<u8> {
    let mut header = vec![0; 0x40];
    header[0..4].copy_from_slice(&(0x1af4 | u32::from(device) << 16).to_le_bytes());
    header[6] = 0x10;
    header[8..12].copy_from_slice(&(class << 8 | u32::from(revision)).to_le_bytes());
    header[0x20] = 0x0c;
    header[0x2c..0x30].copy_from_slice(&(0x1af4 | u32::from(subsystem) << 16).to_le_bytes());
    header[0x3d] = 1;
    header
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}
