//! What comes and goes: a row for each kind of device.
//!
//! The guest's side of a row is a shell function `use_NAME`, in `guest/hotplug.sh`: it waits for the
//! device, uses it, and fails if that does not work. Its argument is the device's identifier.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};

use anyhow::Result;

use crate::guest::machine::Machine;
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
}

/// All rows.
pub(super) const ROWS: &[Row] = &[
    Row {
        name: "blk",
        slot: true,
        lanes: 3,
        devices: &["virtio-blk-pci,id=@,drive=@,serial=@"],
        equip: |machine, id| {
            File::create(machine.file(id))?.set_len(64 << 10)?;
            machine.drive_only(id, &machine.file(id), "");
            Ok(())
        },
        beside: |_, _| Ok(()),
    },
    Row {
        name: "rng",
        slot: true,
        lanes: 3,
        devices: &["virtio-rng-pci,id=@"],
        equip: |_, _| Ok(()),
        beside: |_, _| Ok(()),
    },
    // A controller that goes with the port that is on it.
    Row {
        name: "serial",
        slot: true,
        lanes: 3,
        devices: &[
            "virtio-serial-pci,id=@,max_ports=2",
            "virtserialport,id=@-port,bus=@.0,chardev=@,name=org.example.@",
        ],
        equip: |machine, id| {
            machine.socket(id);
            Ok(())
        },
        beside: echo,
    },
    // A port of a controller that stays.
    Row {
        name: "port",
        slot: false,
        lanes: 1,
        devices: &["virtserialport,id=@,bus=lanes.0,chardev=@,name=org.example.@"],
        equip: |machine, id| {
            machine.socket(id);
            Ok(())
        },
        beside: echo,
    },
];

/// Sends back each line that comes from the guest's port.
fn echo(machine: &Machine, id: &str) -> Result<()> {
    let socket = socket::connect(&machine.file(id))?;
    for line in BufReader::new(&socket).lines().map_while(Result::ok) {
        writeln!(&socket, "{line}")?;
    }
    Ok(())
}
