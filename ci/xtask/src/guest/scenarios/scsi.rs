//! SCSI disks on every bus and ring layout, written and verified by fio.

use anyhow::Result;

use crate::guest::machine::Machine;
use crate::guest::scenario::{Play, Scenario, Shared, nothing};
use crate::guest::scenarios::fio;

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "scsi",
    equip,
    play: Play::Shared(Shared {
        checks: |machine| buses(machine).map(|(name, _)| name.to_owned()).collect(),
        beside: nothing,
        after: nothing,
    }),
};

fn equip(machine: &mut Machine) -> Result<()> {
    machine.processors = fio::processors();
    machine.parameter(&format!("scsi_size={}", fio::piece(machine)));
    let buses: Vec<_> = buses(machine).collect();
    let names: Vec<_> = buses.iter().map(|(name, _)| *name).collect();
    machine.parameter(&format!("scsi_disks={}", names.join(",")));
    buses.into_iter().try_for_each(|(name, bus)| {
        machine.device(&format!("{bus},id={name}-bus"));
        let disk = format!("scsi-hd,bus={name}-bus.0,scsi-id=0,lun=0");
        machine.disk(&disk, name, SIZE)
    })
}

fn buses(machine: &Machine) -> impl Iterator<Item = (&'static str, &'static str)> {
    let mmio = machine.vmm.has_mmio();
    let buses = match machine.vmm.bus() {
        "ccw" => &CCW_BUSES[..],
        _ => &BUSES,
    };
    buses
        .iter()
        .copied()
        .filter(move |(name, _)| mmio || *name != "scsi-mmio")
}

/// Serial number of the disk, type of the bus that it is on. `guest/scsi.sh` knows what each must look
/// like from inside.
const BUSES: [(&str, &str); 4] = [
    ("scsi-split", "virtio-scsi-pci,num_queues=4"),
    ("scsi-packed", "virtio-scsi-pci,packed=on,num_queues=4"),
    (
        "scsi-legacy",
        "virtio-scsi-pci,disable-legacy=off,disable-modern=on",
    ),
    ("scsi-mmio", "virtio-scsi-device"),
];
/// The same for channel I/O, whose revision 0 is the legacy interface: big-endian there.
const CCW_BUSES: [(&str, &str); 3] = [
    ("scsi-split", "virtio-scsi-ccw"),
    ("scsi-packed", "virtio-scsi-ccw,packed=on"),
    ("scsi-legacy", "virtio-scsi-ccw,max_revision=0"),
];
const SIZE: u64 = 64 << 20;
