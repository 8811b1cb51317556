use super::*;

fn platform() -> Platform {
    Platform {
        cpus: 2,
        memory: crate::memory::ranges(1 << 29),
        pci_buses: 3,
        pci_ports: true,
        pci_express: true,
        pci_io: Some(layout::PCI_PORTS),
        pci_mmio64: Some(layout::pci_mmio64(1 << 29)),
        serials: vec![(0x3f8, 4)],
        virtio_mmio: vec![(
            Range {
                base: layout::VIRTIO_MMIO,
                size: 0x200,
            },
            5,
        )],
        pvpanic: Some(0x505),
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn table(image: &[u8], address: u64) -> &[u8] {
    let table = &image[(address - layout::ACPI.base) as usize..];
    let length = u32::from_le_bytes(table[4..8].try_into().unwrap()) as usize;
    &table[..length]
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

#[test]
fn every_table_is_reached_from_the_root_and_sums_to_zero() {
    let image = platform().image();
    assert_eq!(&image[..8], b"RSD PTR ");
    assert_eq!(sum(&image[..20]), 0);
    assert_eq!(sum(&image[..36]), 0);
    let xsdt = table(&image, u64_at(&image, 24));
    assert_eq!((&xsdt[..4], sum(xsdt)), (&b"XSDT"[..], 0));
    let mut names = Vec::new();
    for entry in xsdt[36..].chunks(8) {
        let table = table(&image, u64_at(entry, 0));
        assert_eq!(sum(table), 0);
        names.push(table[..4].to_vec());
    }
    assert_eq!(names, [b"FACP", b"APIC", b"MCFG", b"SRAT"]);
    let fadt = table(&image, u64_at(&xsdt[36..], 0));
    let dsdt = table(&image, u64_at(fadt, 140));
    assert_eq!((&dsdt[..4], sum(dsdt)), (&b"DSDT"[..], 0));
}

#[test]
fn fadt_is_hardware_reduced_with_reset_and_sleep_registers() {
    let fadt = bytes(&fadt(0x1234));
    let flags = u32::from_le_bytes(fadt[112..116].try_into().unwrap());
    assert_eq!(flags & (1 << 20 | 1 << 10), 1 << 20 | 1 << 10);
    let boot_arch = u16::from_le_bytes(fadt[109..111].try_into().unwrap());
    assert_eq!(boot_arch & 0b11, 0, "neither legacy devices nor an 8042");
    assert_eq!(u64_at(&fadt, 120), u64::from(layout::POWER + 2));
    assert_eq!(fadt[128], RESET_VALUE);
    assert_eq!(u64_at(&fadt, 248), u64::from(layout::POWER));
    assert_eq!(u64_at(&fadt, 260), u64::from(layout::POWER + 1));
}

#[test]
fn mcfg_offers_only_the_buses_there_are() {
    let mcfg = bytes(&platform().mcfg());
    assert_eq!(u64_at(&mcfg, 44), layout::ECAM_BASE);
    assert_eq!(mcfg[54..56], [0, 2]);
}

#[test]
fn dsdt_names_its_devices() {
    let dsdt = platform().dsdt();
    let contains = |name: &[u8]| dsdt.as_slice().windows(name.len()).any(|w| w == name);
    for name in [
        "PCI0", "_PRT", "COM1", "VR00", "LNRO0005", "PEVT", "QEMU0001", "_S5_", "MRES",
    ] {
        assert!(contains(name.as_bytes()), "{name}");
    }
    assert!(!contains(b"SL01"), "slots on a bus of PCI Express");
    assert!(contains(b"EVTS") && contains(b"PWRB"));
    assert!(contains(b"_OSC"));
    let bare = Platform {
        cpus: 1,
        ..Default::default()
    }
    .dsdt();
    assert!(!bare.as_slice().windows(4).any(|w| w == b"PCI0"));
}

#[test]
fn configuration_ports_are_a_resource_where_they_are() {
    let ports = bytes(&IO::new(CONFIG_PORT, CONFIG_PORT, 1, 8));
    for pci_ports in [true, false] {
        let platform = Platform {
            pci_ports,
            ..platform()
        };
        let dsdt = platform.dsdt();
        let found = dsdt.as_slice().windows(ports.len()).any(|w| w == ports);
        assert_eq!(found, pci_ports);
    }
}

#[test]
fn a_conventional_bus_has_slots_and_an_event_but_no_ecam() {
    let platform = Platform {
        pci_express: false,
        pci_io: Some(layout::PCI_HIGH_PORTS),
        ..platform()
    };
    let dsdt = platform.dsdt();
    let count = |name: &[u8]| {
        let windows = dsdt.as_slice().windows(name.len());
        windows.filter(|window| *window == name).count()
    };
    assert_eq!((count(b"_SUN"), count(b"_EJ0")), (31, 31));
    // Each slot is declared once and notified once.
    assert_eq!((count(b"SL01"), count(b"SL1F"), count(b"SL00")), (2, 2, 0));
    assert_eq!(
        (count(b"ACPI0013"), count(b"_EVT"), count(b"_OSC")),
        (1, 1, 0)
    );
    let names = platform.image();
    assert!(!names.windows(4).any(|name| name == b"MCFG"));
}

#[test]
fn the_most_that_can_be_asked_for_fits() {
    let serials = layout::SERIAL_PORTS.to_vec();
    let slot = |gsi| {
        (
            Range {
                base: layout::VIRTIO_MMIO,
                size: 0x200,
            },
            gsi,
        )
    };
    let most = Platform {
        cpus: 254,
        pci_buses: layout::MOST_BUSES,
        serials,
        virtio_mmio: layout::VIRTIO_MMIO_GSIS.map(slot).to_vec(),
        ..platform()
    };
    assert!((most.image().len() as u64) < layout::ACPI.size);
}
