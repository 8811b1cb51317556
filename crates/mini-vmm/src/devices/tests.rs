use std::sync::Arc;
use std::time::Duration;

use kvm_ioctls::Kvm;
use testkit::channel::Interruptions;
use virtio_ccw::css::ChannelSubsystem;
use vm_device::bus::PioAddress;
use vm_device::device_manager::PioManager;

use super::*;
use crate::chardev::Host;
use crate::exit::Wish;
use crate::hardware::{Hardware, Kit};
use crate::memory;
use crate::options::DriveOptions;
use crate::wires::Wires;

/// Plugs `devices` into a machine. `None` where the host has no KVM.
fn plug_all(devices: &[&str]) -> Option<Result<(Hardware, Wishes), String>> {
    let config = Config {
        devices: devices
            .iter()
            .map(|text| DeviceOptions::parse(text).unwrap())
            .collect(),
        memory: 64 << 20,
        ..Config::default()
    };
    let host = Host::of_test();
    let wishes = host.wishes.clone();
    let mut backends = Backends::open(&config, host).unwrap();
    let kit = match Kit::new(&config, &mut backends) {
        Ok(kit) => kit,
        Err(error) => return Some(Err(error.to_string())),
    };
    let vm = Arc::new(Kvm::new().ok()?.create_vm().ok()?);
    let (wires, _) = Wires::kvm(&vm, &Arc::default()).unwrap();
    let memory = SharedMemory::new(memory::allocate(config.memory).unwrap());
    let (workers, _) = Workers::new(Duration::ZERO, false, &wishes);
    let hardware = Hardware::new(&config, kit, (wires, &memory), (&workers, &wishes));
    Some(match hardware {
        Ok(hardware) => {
            hardware.reset().unwrap();
            Ok((hardware, wishes))
        }
        Err(error) => Err(error.to_string()),
    })
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
    let (hardware, wishes) = plugged.unwrap();
    let platform = &hardware.platform;
    assert_eq!((platform.pvpanic, platform.pci_buses), (Some(0x505), 2));
    hardware.bus.pio_write(PioAddress(0xf7), &[3]).unwrap();
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
fn every_virtio_device_goes_where_its_name_says() {
    let devices = [
        "pcie-root-port,id=rp0",
        "virtio-rng-pci,bus=rp0",
        "virtio-rng-pci-transitional,addr=05.0",
        "virtio-rng-pci-non-transitional",
        "virtio-serial-pci,id=s0",
        "virtio-rng-device",
        "virtio-serial-device",
        "virtconsole",
        "virtserialport,bus=s0.0,name=a",
    ];
    let Some(plugged) = plug_all(&devices) else {
        return;
    };
    let (hardware, _) = plugged.unwrap();
    let slots = hardware.platform.virtio_mmio.iter();
    let slots: Vec<_> = slots.map(|(range, gsi)| (range.base, *gsi)).collect();
    assert_eq!(slots, [(0xfeb0_0000, 5), (0xfeb0_1000, 6)]);
}

#[test]
fn there_are_as_many_mmio_devices_as_slots() {
    let Some(plugged) = plug_all(&["virtio-rng-device"; 9]) else {
        return;
    };
    let error = plugged.err().unwrap();
    assert!(error.contains("all 8 slots are taken"), "{error}");
}

#[test]
fn help_lists_types_and_properties() {
    let list = help("").unwrap();
    assert!(DEVICES.iter().all(|row| list.contains(row.name)));
    for (driver, properties) in [
        ("pvpanic", &["ioport"][..]),
        (
            "virtio-blk-pci",
            &[
                "drive",
                "packed",
                "vectors",
                "addr",
                "bus",
                "disable-legacy",
            ],
        ),
        (
            "virtio-blk-device",
            &["num-queues", "event_idx", "force-legacy"],
        ),
        ("virtio-rng-pci-transitional", &["max-bytes", "ioeventfd"]),
        ("virtio-serial-pci", &["max_ports"]),
        ("virtserialport", &["chardev", "name", "nr", "bus"]),
    ] {
        let text = help(driver).unwrap();
        let listed = |name: &&str| text.contains(&format!("\n  {name} "));
        assert!(properties.iter().all(listed), "{text}");
    }
    assert_eq!(help("virtio-blk").unwrap(), help("virtio-blk-pci").unwrap());
    assert!(help("pvpanik").unwrap_err().to_string().contains("pvpanic"));
    let fixed = help("virtio-rng-pci-transitional").unwrap();
    assert!(!fixed.contains("\n  disable-legacy"));
}

#[test]
fn a_drive_on_channel_io_is_in_use_until_its_device_leaves() {
    let config = Config {
        drives: vec![DriveOptions::parse("id=d0,file=null-co://,file.size=1M", 0).unwrap()],
        devices: vec![DeviceOptions::parse("virtio-blk-ccw,id=b0,drive=d0").unwrap()],
        ..Config::default()
    };
    let host = Host::of_test();
    let wishes = host.wishes.clone();
    let mut backends = Backends::open(&config, host).unwrap();
    let memory = SharedMemory::new(memory::allocate(16 << 20).unwrap());
    let (workers, _) = Workers::new(Duration::ZERO, false, &wishes);
    let css = ChannelSubsystem::new(memory.clone(), Arc::new(Interruptions::default()));
    let mut board = Board {
        buses: Buses::Channels(&css),
        memory: &memory,
        workers: &workers,
        wishes: &wishes,
    };
    let plug = make(&config, &mut backends).unwrap().remove(0);
    let plugged = plug.plug(&mut board).unwrap().unwrap();
    let refused = backends.drives.remove("drive_del", "id", "d0").unwrap_err();
    assert!(refused.to_string().contains("already in use"), "{refused}");
    let Seat::Ccw(transport) = plugged.seat else {
        panic!("not on channel I/O");
    };
    transport.detach();
    assert!(backends.drives.remove("drive_del", "id", "d0").is_err());
    drop(plugged.control);
    backends.drives.remove("drive_del", "id", "d0").unwrap();
}
