//! Disks on a file system of the host that is full: one whose errors the guest is told, and one that
//! the machine stops for until there is room. Part of [`monitor`](super::monitor).

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;

use crate::guest::machine::Machine;
use crate::guest::qmp::Qmp;
use crate::guest::scenario::Mounted;
use crate::process::output;

/// Adds the disks.
pub(super) fn equip(machine: &mut Machine) -> Result<()> {
    let place = place(machine);
    fs::create_dir(&place)?;
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", &format!("size={ROOM}"), "full"]);
    output(mount.arg(&place))?;
    for (name, how) in [(TOLD, "werror=report,"), (WAITS, "")] {
        let image = place.join(name);
        File::create(&image)?.set_len(SIZE)?;
        machine.drive("virtio-blk-pci", name, &image, how);
    }
    Ok(())
}

/// What the disks are on, until it is dropped.
pub(super) fn mounted(machine: &Machine) -> Mounted {
    Mounted(place(machine))
}

/// Waits until the machine has stopped for the one disk, gives it the room that the other has, and
/// has the machine go on.
pub(super) fn make_room(machine: &Machine, monitor: &mut Qmp) -> Result<String> {
    let deadline = Instant::now() + PATIENCE;
    while monitor.execute("query-status", json!({}))?["status"] != "io-error" {
        ensure!(Instant::now() < deadline, "the machine does not stop");
        sleep(PAUSE);
    }
    for (drive, action) in [(TOLD, "report"), (WAITS, "stop")] {
        monitor.event("BLOCK_IO_ERROR", |data| {
            data["device"] == drive && data["action"] == action && data["nospace"] == true
        })?;
    }
    monitor.event("STOP", |_| true)?;
    let told = File::options()
        .write(true)
        .open(place(machine).join(TOLD))?;
    told.set_len(0)?;
    told.set_len(SIZE)?;
    monitor.execute("cont", json!({}))?;
    Ok("told of one full disk, stopped for the other, and went on".to_owned())
}

fn place(machine: &Machine) -> PathBuf {
    machine.file("full")
}

const TOLD: &str = "full-told";
const WAITS: &str = "full-waits";
const SIZE: u64 = 8 << 20;
const ROOM: u64 = 2 << 20;
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(100);
