//! The units of one SCSI bus, used by the guest's own tools: a disk asked by sg3_utils what it is and
//! can do, a CD-ROM drive, units by the dozen. Some of it is done from outside, by a monitor, when the
//! guest says so: a disk is limited; a unit comes, grows and goes; a disc is taken out and another one put
//! in.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::cargo;
use crate::debian::Debian;
use crate::guest::errand;
use crate::guest::machine::Machine;
use crate::guest::qmp::Qmp;
use crate::guest::scenario::{Play, Scenario, Shared, nothing};
use crate::guest::verdict::Verdict;

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "scsi-units",
    equip,
    play: Play::Shared(Shared {
        checks: |machine| {
            // What disks of QEMU have not.
            let more = machine.vmm.is_ours().then_some("scsi-more");
            let checks = CHECKS.iter().copied().chain(more);
            checks.map(str::to_owned).collect()
        },
        beside: |machine| vec![Verdict::of("scsi-monitor", serve(machine))],
        after: nothing,
    }),
};

fn equip(machine: &mut Machine) -> Result<()> {
    machine.parameter(&format!("scsi_more={}", u8::from(machine.vmm.is_ours())));
    machine.device("virtio-scsi-pci,id=units");
    machine.disk("scsi-hd,bus=units.0,scsi-id=0,lun=0", DISK, SIZE)?;
    add_discs(machine)?;
    add_units(machine)?;
    File::create(machine.file(LATE))?.set_len(SIZE / 2)?;
    machine.drive_only(LATE, &machine.file(LATE), "");
    machine.monitor_qmp(MONITOR);
    machine.socket(PORT);
    let serial = machine.virtio("serial");
    machine.device(&serial);
    machine.device(&format!(
        "virtserialport,chardev={PORT},name=org.example.monitor"
    ));
    Ok(())
}

/// A disc that begins with a program which the guest has, too, and another one.
fn add_discs(machine: &mut Machine) -> Result<()> {
    let busybox = Debian::new(&cargo::target()?).program("busybox")?;
    let disc = machine.file("disc");
    fs::copy(busybox.path, &disc)?;
    pad(&disc)?;
    let drive = format!("scsi-cd,id={CD},bus=units.0,scsi-id=1,lun=0");
    machine.drive(&drive, "disc", &disc, "readonly=on,");
    let others = machine.file(OTHER_DISCS);
    fs::create_dir(&others)?;
    let mut other = File::create(others.join(OTHER_DISC))?;
    other.write_all(b"another disc")?;
    other.set_len(OTHER_SIZE)?;
    if machine.vmm.is_ours() {
        machine.option("-sandbox", &format!("on,allow={}", others.display()));
    }
    Ok(())
}

/// Units of one target, some beyond what one byte says.
fn add_units(machine: &mut Machine) -> Result<()> {
    machine.parameter(&format!("scsi_units={UNITS}"));
    (0..UNITS).try_for_each(|unit| {
        let lun = unit * 20;
        let disk = format!("scsi-hd,bus=units.0,scsi-id=7,lun={lun}");
        machine.disk(&disk, &format!("many-{unit}"), 1 << 20)
    })
}

/// A disc consists of whole sectors.
fn pad(disc: &Path) -> Result<()> {
    let file = File::options().write(true).open(disc)?;
    let len = file.metadata()?.len();
    Ok(file.set_len(len.next_multiple_of(2048))?)
}

/// Does what the guest says, until the VMM ends.
fn serve(machine: &Machine) -> Result<String> {
    let mut monitor = Qmp::connect(&machine.file(MONITOR))?;
    let disc = machine.file(OTHER_DISCS).join(OTHER_DISC);
    let act = |line: &str| act(&mut monitor, &disc, line).map(|()| String::new());
    let count = errand::serve(&machine.file(PORT), act)?;
    Ok(format!("{count} commands of the guest's"))
}

fn act(monitor: &mut Qmp, disc: &Path, line: &str) -> Result<()> {
    let words: Vec<_> = line.split(' ').collect();
    match words[..] {
        ["limit", requests] => limit(monitor, requests.parse()?),
        ["come", target, lun] => come(monitor, target.parse()?, lun.parse()?),
        ["grow"] => {
            let size = json!({"device": LATE, "size": SIZE});
            monitor.execute("block_resize", size).map(drop)
        }
        ["go"] => {
            monitor.execute("device_del", json!({"id": LATE}))?;
            monitor.event("DEVICE_DELETED", |data| data["device"] == LATE)
        }
        ["ask"] => ask(monitor),
        ["eject"] => {
            monitor.execute("eject", json!({"id": CD}))?;
            tray_moved(monitor, true)
        }
        ["change"] => {
            let medium = json!({"id": CD, "filename": disc, "format": "raw"});
            monitor.execute("blockdev-change-medium", medium)?;
            tray_moved(monitor, false)
        }
        _ => bail!("what is {line:?}?"),
    }
}

/// Limits the requests of the first disk in a second, or no more: by its path, as it has no identifier.
fn limit(monitor: &mut Qmp, requests: u64) -> Result<()> {
    let drives = monitor.execute("query-block", json!({}))?;
    let mut drives = drives.as_array().context("no list")?.iter();
    let disk = drives.find(|drive| drive["device"] == DISK);
    let path = disk.context("no such disk")?["qdev"].clone();
    let limits = json!({
        "id": path, "bps": 0, "bps_rd": 0, "bps_wr": 0, "iops": requests, "iops_rd": 0, "iops_wr": 0,
    });
    monitor.execute("block_set_io_throttle", limits).map(drop)
}

/// A unit comes that was not there when the guest looked at its bus.
fn come(monitor: &mut Qmp, target: u8, lun: u16) -> Result<()> {
    let unit = json!({
        "driver": "scsi-hd", "id": LATE, "bus": "units.0", "scsi-id": target, "lun": lun,
        "drive": LATE, "serial": LATE,
    });
    monitor.execute("device_add", unit).map(drop)
}

/// A guest that has locked the tray is asked to open it, no more.
fn ask(monitor: &mut Qmp) -> Result<()> {
    let refused = monitor.execute("eject", json!({"id": CD})).err();
    let refused = refused.context("a locked tray was opened")?.to_string();
    ensure!(refused.contains("is locked"), "{refused}");
    Ok(())
}

fn tray_moved(monitor: &mut Qmp, open: bool) -> Result<()> {
    let is_ours = |data: &Value| data["id"] == CD && data["tray-open"] == open;
    monitor.event("DEVICE_TRAY_MOVED", is_ours)
}

const CHECKS: &[&str] = &[
    "scsi-ext4",
    "scsi-tools",
    "scsi-limit",
    "scsi-many",
    "scsi-late",
    "scsi-grow",
    "scsi-cd",
    "scsi-ask",
    "scsi-change",
];
const UNITS: u32 = 20;
const DISK: &str = "units-disk";
/// Of the unit that comes and goes, and what is in it.
const LATE: &str = "late";
const CD: &str = "cd";
/// Where files are opened though the VMM is in its sandbox.
const OTHER_DISCS: &str = "discs";
const OTHER_DISC: &str = "other";
/// In bytes: 1024 sectors of 2048.
const OTHER_SIZE: u64 = 2 << 20;
/// As `guest/lib.sh` knows it.
const PORT: &str = "monitor-port";
const MONITOR: &str = "units-monitor";
const SIZE: u64 = 64 << 20;
