//! SCSI disks on every bus and ring layout, a CD-ROM drive, and many units of one target, used by
//! the guest's own tools: fio, mke2fs and sg3_utils.

use std::fs::{self, File};
use std::path::Path;

use anyhow::Result;

use crate::cargo;
use crate::debian::Debian;
use crate::guest::machine::Machine;
use crate::guest::scenario::{Play, Scenario, Shared, in_l1, nothing};

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "scsi",
    equip,
    play: Play::Shared(Shared {
        checks: |machine| {
            let disks = buses(machine).map(|(name, _)| name.to_owned());
            let others = ["scsi-ext4", "scsi-tools", "scsi-cd", "scsi-many"];
            // What disks of QEMU have not.
            let more = machine.vmm.is_ours().then_some("scsi-more");
            let others = others.into_iter().chain(more).map(str::to_owned);
            disks.chain(others).collect()
        },
        beside: nothing,
        after: nothing,
    }),
};

fn equip(machine: &mut Machine) -> Result<()> {
    machine.processors = 4;
    let piece = if in_l1() { "2m" } else { "16m" };
    machine.parameter(&format!("scsi_size={piece}"));
    machine.parameter(&format!("scsi_more={}", u8::from(machine.vmm.is_ours())));
    let buses: Vec<_> = buses(machine).collect();
    let names: Vec<_> = buses.iter().map(|(name, _)| *name).collect();
    machine.parameter(&format!("scsi_disks={}", names.join(",")));
    for (name, bus) in buses {
        machine.device(&format!("{bus},id={name}-bus"));
        let disk = format!("scsi-hd,bus={name}-bus.0,scsi-id=0,lun=0");
        machine.disk(&disk, name, SIZE)?;
    }
    add_disc(machine)?;
    add_units(machine)
}

/// A disc that begins with a program which the guest has, too.
fn add_disc(machine: &mut Machine) -> Result<()> {
    let (busybox, disc) = (
        Debian::new(&cargo::target()?).program("busybox")?,
        machine.file("disc"),
    );
    fs::copy(busybox.path, &disc)?;
    pad(&disc)?;
    let drive = "scsi-cd,bus=scsi-split-bus.0,scsi-id=1,lun=0";
    machine.drive(drive, "disc", &disc, "readonly=on,");
    Ok(())
}

/// Units of one target, some beyond what one byte says.
fn add_units(machine: &mut Machine) -> Result<()> {
    machine.parameter(&format!("scsi_units={UNITS}"));
    (0..UNITS).try_for_each(|unit| {
        let lun = unit * 20;
        let disk = format!("scsi-hd,bus=scsi-packed-bus.0,scsi-id=7,lun={lun}");
        machine.disk(&disk, &format!("many-{unit}"), 1 << 20)
    })
}

/// A disc consists of whole sectors.
fn pad(disc: &Path) -> Result<()> {
    let file = File::options().write(true).open(disc)?;
    let len = file.metadata()?.len();
    Ok(file.set_len(len.next_multiple_of(2048))?)
}

fn buses(machine: &Machine) -> impl Iterator<Item = (&'static str, &'static str)> {
    let mmio = machine.vmm.has_mmio();
    BUSES
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
const UNITS: u32 = 20;
const SIZE: u64 = 64 << 20;
