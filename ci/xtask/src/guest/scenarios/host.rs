//! What the host has under a guest, and how it goes: block devices with zones of their own and with
//! blocks of 4096 bytes, one that fails for a while, one that is taken away, and a network interface
//! that is deleted. The guest is told, the VMM stays and says it once.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use crate::guest::errand;
use crate::guest::host_disk;
use crate::guest::machine::{LOG, Machine};
use crate::guest::qmp::Qmp;
use crate::guest::scenario::{Play, Scenario, Shared, tool};
use crate::guest::verdict::Verdict;
use crate::process::output;

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "host",
    equip,
    play: Play::Shared(Shared {
        checks: |_| {
            let checks = CHECKS.iter().filter(|_| host_disk::are_possible());
            checks.copied().map(str::to_owned).collect()
        },
        beside: |machine| verdicts(machine, "host-errands", serve),
        after: |machine| verdicts(machine, "host-log", look),
    }),
};

fn verdicts(
    machine: &Machine,
    check: &str,
    find: impl Fn(&Machine) -> Result<String>,
) -> Vec<Verdict> {
    match host_disk::are_possible() {
        true => vec![Verdict::of(check, find(machine))],
        false => Vec::new(),
    }
}

fn equip(machine: &mut Machine) -> Result<()> {
    let possible = host_disk::are_possible();
    machine.parameter(&format!("host_disks={}", u8::from(possible)));
    if !possible {
        return Ok(());
    }
    machine.device("pcie-root-port,id=host-slot,chassis=1,slot=1");
    for disk in DISKS {
        let node = host_disk::make(disk.name, disk.attributes)?;
        machine.drive(disk.device, disk.name, &node, disk.how);
        let refused = REFUSED.iter().filter(|refused| refused.disk == disk.name);
        refused.for_each(|refused| machine.drive_only(refused.drive, &node, refused.how));
    }
    machine.device("pcie-root-port,id=host-spare,chassis=2,slot=2");
    let _ = interface(&format!("link del {TAP}"));
    interface(&format!("tuntap add dev {TAP} mode tap"))?;
    interface(&format!("link set {TAP} up"))?;
    machine.option(
        "-netdev",
        &format!("tap,id={TAP},ifname={TAP},script=no,downscript=no"),
    );
    machine.device(&format!(
        "virtio-net-pci,netdev={TAP},mac=52:54:00:77:20:01"
    ));
    machine.monitor_qmp(MONITOR);
    machine.socket(PORT);
    machine.device("virtio-serial-pci");
    machine.device(&format!(
        "virtserialport,chardev={PORT},name=org.example.monitor"
    ));
    Ok(())
}

/// Does what the guest says, until the VMM ends.
fn serve(machine: &Machine) -> Result<String> {
    let mut monitor = Qmp::connect(&machine.file(MONITOR))?;
    let obey = |words: &str| match words {
        "refuse" => refuse(&mut monitor),
        _ => act(&mut monitor, words).map(|()| String::new()),
    };
    let errands = errand::serve(&machine.file(PORT), obey)?;
    Ok(format!("{errands} errands"))
}

fn act(monitor: &mut Qmp, words: &str) -> Result<()> {
    match words {
        "take disk" => host_disk::set(GONE, "power", "0"),
        "told" => monitor.event("BLOCK_IO_ERROR", |data| {
            data["device"] == GONE && data["action"] == "report" && data["nospace"] == false
        }),
        "delete" => monitor.execute("device_del", json!({"id": GONE})).map(drop),
        "deleted" => monitor.event("DEVICE_DELETED", |data| data["device"] == GONE),
        "heal" => heal(monitor),
        "take interface" => interface(&format!("link del {TAP}")),
        _ => bail!("what is {words:?}?"),
    }
}

/// Insists that what cannot be used as it is asked for is not taken, and says why.
fn refuse(monitor: &mut Qmp) -> Result<String> {
    for refused in REFUSED {
        let arguments = json!({
            "driver": "virtio-blk-pci", "bus": "host-spare", "drive": refused.drive,
            "logical_block_size": refused.block,
        });
        let error = monitor.execute("device_add", arguments).err();
        let error = error.context("it was taken")?.to_string();
        ensure!(error.contains(refused.why), "{error}");
    }
    let limits = json!({
        "device": "host-zoned", "bps": 0, "bps_rd": 0, "bps_wr": 0, "iops": 20, "iops_rd": 0, "iops_wr": 0,
    });
    let error = monitor.execute("block_set_io_throttle", limits).err();
    let error = error.context("it was limited")?.to_string();
    ensure!(error.contains("which takes no limits"), "{error}");
    Ok(String::new())
}

/// Waits until the machine has stopped for a disk, makes that good, and has the machine go on.
fn heal(monitor: &mut Qmp) -> Result<()> {
    monitor.event("BLOCK_IO_ERROR", |data| {
        data["device"] == FAILS && data["action"] == "stop"
    })?;
    monitor.event("STOP", |_| true)?;
    let status = monitor.execute("query-status", json!({}))?;
    ensure!(status["status"] == "io-error", "{status}");
    host_disk::set(FAILS, "badblocks", "-2048-2055")?;
    monitor.execute("cont", json!({})).map(drop)
}

/// Whether the log has each trouble once, however often the guest ran into it.
fn look(machine: &Machine) -> Result<String> {
    DISKS.iter().for_each(|disk| host_disk::remove(disk.name));
    let log = fs::read(machine.file(LOG))?;
    let log = String::from_utf8_lossy(&log);
    let count = |words| log.matches(words).count();
    let interface = count("the host end of a network device is gone");
    ensure!(interface == 1, "the interface is missed {interface} times");
    let first = count("(the 1. of this device): No such device");
    ensure!(first == 1, "the disk is missed {first} times");
    let failures = count("a disk request failed");
    ensure!(failures < 40, "{failures} failures of disks are told");
    Ok(format!(
        "disk and interface are missed once; {failures} failures of disks in all"
    ))
}

fn interface(words: &str) -> Result<()> {
    output(tool("ip")?.args(words.split(' '))).map(drop)
}

/// A block device of the host, and the device on it.
struct HostDisk {
    name: &'static str,
    attributes: &'static [(&'static str, &'static str)],
    device: &'static str,
    how: &'static str,
}

const DISKS: &[HostDisk] = &[
    HostDisk {
        name: "host-zoned",
        attributes: &[
            ("size", "1280"),
            ("blocksize", "4096"),
            ("zoned", "1"),
            ("zone_size", "32"),
            ("zone_capacity", "24"),
            ("zone_nr_conv", "2"),
            ("zone_max_open", "8"),
            ("zone_max_active", "12"),
        ],
        device: "virtio-blk-pci",
        how: "cache=none,",
    },
    // Of its last zone there is not all.
    HostDisk {
        name: "host-runt",
        attributes: &[("size", "100"), ("zoned", "1"), ("zone_size", "32")],
        device: "virtio-blk-pci",
        how: "cache=none,",
    },
    HostDisk {
        name: "host-4k",
        attributes: &[("size", "8"), ("blocksize", "4096")],
        device: "virtio-blk-pci,packed=on",
        how: "cache=none,",
    },
    HostDisk {
        name: FAILS,
        attributes: &[("size", "8"), ("badblocks", "+2048-2055")],
        device: "virtio-blk-pci",
        how: "cache=none,werror=stop,",
    },
    HostDisk {
        name: GONE,
        attributes: &[("size", "8")],
        device: "virtio-blk-pci,id=host-gone,bus=host-slot",
        how: "cache=none,",
    },
];
/// A drive that a device of the host cannot be.
struct Refused {
    drive: &'static str,
    disk: &'static str,
    how: &'static str,
    block: u32,
    why: &'static str,
}

const REFUSED: &[Refused] = &[
    Refused {
        drive: "host-cached",
        disk: "host-zoned",
        how: "",
        block: 4096,
        why: "the page cache does not write zones in order",
    },
    Refused {
        drive: "host-limited",
        disk: "host-zoned",
        how: "cache=none,throttling.iops-total=20,",
        block: 4096,
        why: "its zones are written in order, without limits of ours",
    },
    Refused {
        drive: "host-small",
        disk: "host-4k",
        how: "cache=none,",
        block: 512,
        why: "logical_block_size",
    },
];
const CHECKS: &[&str] = &[
    "host-zoned",
    "host-zoned-fio",
    "host-zoned-append",
    "host-zoned-runt",
    "host-4k",
    "host-refused",
    "host-fails",
    "host-gone",
    "host-deleted",
    "host-link",
];
const FAILS: &str = "host-fails";
const GONE: &str = "host-gone";
const TAP: &str = "host-tap";
const MONITOR: &str = "host-monitor";
const PORT: &str = "host-port";
