//! What comes and goes: a row for each kind of device.
//!
//! The guest's side of a row is a shell function `use_NAME`, in `guest/hotplug.sh`: it waits for the
//! device, uses it, and fails if that does not work. Its argument is the device's identifier.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};

use anyhow::{Result, bail};
use serde_json::json;

use super::peer;
use crate::guest::machine::Machine;
use crate::guest::qmp::Qmp;
use crate::socket;

/// A kind of device, as it comes and goes. In all texts `@` stands for the identifier, the same one
/// in all rounds of a lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// Its name.
    pub(super) name: &'static str,
    /// Whether it takes a slot of a PCI bus; otherwise it comes to a device that is there.
    pub(super) slot: bool,
    /// How many of it come and go at the same time.
    pub(super) lanes: u32,
    /// What comes, in this order, as `-device` has it. All of it goes with the first one, whose
    /// identifier is `@`.
    pub(super) devices: &'static [&'static str],
    /// Gives the machine the host ends of the device with this identifier, and what it comes to.
    pub(super) equip: fn(&mut Machine, &str) -> Result<()>,
    /// What goes on outside, if anything; it ends when the VMM does.
    pub(super) beside: fn(&Machine, &str) -> Result<()>,
    /// Does what else the guest says on its control port, if anything.
    pub(super) more: fn(&mut Qmp, &str) -> Result<()>,
}

/// All rows.
pub(super) const ROWS: &[Row] = &[
    Row {
        name: "blk",
        lanes: 3,
        devices: &["virtio-blk-pci,id=@,drive=@,serial=@"],
        equip: drive,
        ..PLAIN
    },
    Row {
        name: "rng",
        lanes: 3,
        devices: &["virtio-rng-pci,id=@"],
        ..PLAIN
    },
    // A controller that goes with the port that is on it.
    Row {
        name: "serial",
        lanes: 3,
        devices: &[
            "virtio-serial-pci,id=@,max_ports=2",
            "virtserialport,id=@-port,bus=@.0,chardev=@,name=org.example.@",
        ],
        equip: port,
        beside: echo,
        ..PLAIN
    },
    // A port of a controller that stays.
    Row {
        name: "port",
        slot: false,
        devices: &["virtserialport,id=@,bus=lanes.0,chardev=@,name=org.example.@"],
        equip: port,
        beside: echo,
        ..PLAIN
    },
    Row {
        name: "net",
        lanes: 2,
        devices: &["virtio-net-pci,id=@,netdev=@"],
        equip: |machine, id| {
            let path = machine.file(id).display().to_string();
            let netdev = format!("stream,id={id},server=on,addr.type=unix,addr.path={path}");
            machine.option("-netdev", &netdev);
            Ok(())
        },
        beside: |machine, id| peer::answer(&machine.file(id)),
        ..PLAIN
    },
    // A controller that goes with the disk that is on it.
    Row {
        name: "scsi",
        lanes: 2,
        devices: &[
            "virtio-scsi-pci,id=@,iothread=lanes",
            "scsi-hd,id=@-unit,bus=@.0,drive=@,serial=@",
        ],
        equip: drive,
        ..PLAIN
    },
    // A disk of a controller that stays.
    Row {
        name: "lun",
        slot: false,
        devices: &["scsi-hd,id=@,bus=units.0,scsi-id=7,lun=3,drive=@,serial=@"],
        equip: |machine, id| {
            machine.device("virtio-scsi-pci,id=units");
            drive(machine, id)
        },
        ..PLAIN
    },
    Row {
        name: "share",
        lanes: 2,
        devices: &["virtio-9p-pci,id=@,fsdev=@,mount_tag=@"],
        equip: |machine, id| {
            fs::create_dir(machine.file(id))?;
            let path = machine.file(id).display().to_string();
            let fsdev = format!("local,id={id},path={path},security_model=none,multidevs=remap");
            machine.option("-fsdev", &fsdev);
            Ok(())
        },
        ..PLAIN
    },
    Row {
        name: "balloon",
        devices: &["virtio-balloon-pci,id=@"],
        more: |monitor, word| match word {
            "inflate" => monitor
                .execute("balloon", json!({"value": INFLATED}))
                .map(drop),
            _ => nothing_more(monitor, word),
        },
        ..PLAIN
    },
];

/// What most rows have in common.
const PLAIN: Row = Row {
    name: "",
    slot: true,
    lanes: 1,
    devices: &[],
    equip: |_, _| Ok(()),
    beside: |_, _| Ok(()),
    more: nothing_more,
};

fn nothing_more(_: &mut Qmp, word: &str) -> Result<()> {
    bail!("what is {word:?}?")
}

/// A drive that is as large as what the guest writes.
fn drive(machine: &mut Machine, id: &str) -> Result<()> {
    File::create(machine.file(id))?.set_len(64 << 10)?;
    machine.drive_only(id, &machine.file(id), "");
    Ok(())
}

/// The host's end of a port.
fn port(machine: &mut Machine, id: &str) -> Result<()> {
    machine.socket(id);
    Ok(())
}

/// Sends back each line that comes from the guest's port.
fn echo(machine: &Machine, id: &str) -> Result<()> {
    let socket = socket::connect(&machine.file(id))?;
    for line in BufReader::new(&socket).lines().map_while(Result::ok) {
        writeln!(&socket, "{line}")?;
    }
    Ok(())
}

/// Bytes that a balloon leaves the guest: 8 MiB less than it has.
const INFLATED: u64 = (512 - 8) << 20;
