use kvm_ioctls::Kvm;
use vm_device::bus::PioAddress;

use super::*;
use crate::exit::Wish;
use crate::options::Config;

fn parse(text: &str) -> DeviceOptions {
    DeviceOptions::parse(text).unwrap()
}

/// Plugs `devices` into an empty board, which needs a VM. `None` where the host has no KVM.
fn plug_all(devices: &[&str]) -> Option<Result<(IoManager, Platform, Wishes, u8), String>> {
    let vm = Arc::new(Kvm::new().ok()?.create_vm().ok()?);
    let mut pci = Pci::new(&vm, 1 << 29).unwrap();
    let (mut bus, mut platform) = (IoManager::new(), Platform::default());
    let wishes = Wishes::new().unwrap();
    let mut backends = Backends::open(&Config::default(), &wishes).unwrap();
    for device in devices {
        let mut board = Board {
            bus: &mut bus,
            pci: &mut pci,
            backends: &mut backends,
            platform: &mut platform,
            wishes: &wishes,
        };
        if let Err(error) = plug(&mut board, &parse(device)) {
            return Some(Err(error.to_string()));
        }
    }
    let buses = pci.buses();
    pci.register(&mut bus).unwrap();
    pci.reset().unwrap();
    Some(Ok((bus, platform, wishes, buses)))
}

#[test]
fn devices_are_where_they_are_asked_to_be() {
    let devices = [
        "isa-debug-exit,iobase=0xf4,iosize=4",
        "pvpanic",
        "pcie-root-port,id=rp0,addr=1c.0",
    ];
    let Some(plugged) = plug_all(&devices) else {
        return;
    };
    let (bus, platform, wishes, buses) = plugged.unwrap();
    assert_eq!((platform.pvpanic, buses), (Some(0x505), 2));
    bus.pio_write(PioAddress(0xf7), &[3]).unwrap();
    assert_eq!(wishes.take(), Some(Wish::DebugExit(3)));
}

#[test]
fn bad_devices_are_refused_on_one_line() {
    for (device, expected) in [
        (
            "pvpanik",
            "-device pvpanik: unknown type; accepted: pvpanic",
        ),
        (
            "isa-debug-exit,iobas=1",
            "-device isa-debug-exit iobas=1: unknown name; accepted: iobase",
        ),
        (
            "isa-debug-exit,iosize=9",
            "-device isa-debug-exit iosize=9: not accepted; accepted: a number from 1 to 4",
        ),
        ("isa-debug-exit,iobase=0x10000", "a number from 0 to 65535"),
        (
            "isa-debug-exit,iobase=x",
            "-device isa-debug-exit iobase=x: not accepted",
        ),
        ("pcie-root-port", "-device pcie-root-port id=: missing"),
        (
            "pcie-root-port,id=a,addr=20",
            "addr=20: not a slot; accepted: a slot and optional",
        ),
        (
            "pcie-root-port,id=a,addr=0",
            "accepted: a free slot of pcie.0",
        ),
        (
            "pcie-root-port,id=a,bus=b",
            "bus=b: no such bus; accepted: pcie.0",
        ),
    ] {
        let Some(plugged) = plug_all(&[device]) else {
            return;
        };
        let error = plugged.err().unwrap();
        assert!(error.contains(expected), "{error}");
        assert_eq!(error.lines().count(), 1);
    }
    let Some(twice) = plug_all(&["pvpanic", "isa-debug-exit,iobase=0x505"]) else {
        return;
    };
    let error = twice.err().unwrap();
    assert_eq!(
        error,
        "-device isa-debug-exit iobase=0x505: taken; accepted: a free I/O port"
    );
}

#[test]
fn help_lists_types_and_properties() {
    let list = help("").unwrap();
    for row in DEVICES {
        assert!(list.contains(row.name));
        let properties = help(row.name).unwrap();
        assert!(
            row.properties
                .iter()
                .all(|(name, _)| properties.contains(name))
        );
    }
    assert!(help("pvpanik").unwrap_err().to_string().contains("pvpanic"));
}
