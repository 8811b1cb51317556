//! A guest test in data: what the machine needs, what the guest must report, and what is done and
//! checked from outside.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use rustix::fs::{Mode, OFlags, open};

use crate::cargo;
use crate::debian::Debian;
use crate::guest::machine::Machine;
use crate::guest::session::Guest;
use crate::guest::verdict::Verdict;

/// Which tests, and how much of them.
#[derive(Args, Clone, Debug, Default)]
pub struct Selection {
    /// Run only the tests (scenarios of the guest part) whose name contains this
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub filter: String,
    /// Have guests one level down do all that they do on real KVM, 100 rounds of hot-plug in place of 8
    /// say, which takes them ten minutes
    #[arg(long)]
    pub full: bool,
}

/// A test. Its script in the guest is `/scenarios/<name>.sh`.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name, a short word.
    pub name: &'static str,
    /// Adds the devices it needs.
    pub equip: Equip,
    /// How it runs.
    pub play: Play,
}

impl Scenario {
    /// Whether its name, with `label` before it, contains `filter`.
    pub fn matches(&self, label: &str, filter: &str) -> bool {
        format!("{label}{}", self.name).contains(filter)
    }
}

/// How a scenario runs.
#[derive(Clone, Copy, Debug)]
pub enum Play {
    /// In one boot with the others of this kind, one after another.
    Shared(Shared),
    /// In a boot of its own, for scenarios that end or restart the machine.
    Alone(Solo),
}

/// The parts of a scenario that shares its boot.
#[derive(Clone, Copy, Debug)]
pub struct Shared {
    /// The checks that the guest's script must report.
    pub checks: fn(&Machine) -> Vec<String>,
    /// What goes on outside meanwhile; it must end by itself when the VMM closes its sockets.
    pub beside: fn(&Machine) -> Vec<Verdict>,
    /// What is looked at after the guest turned itself off.
    pub after: fn(&Machine) -> Vec<Verdict>,
}

/// Adds devices to a machine.
pub type Equip = fn(&mut Machine) -> Result<()>;
/// Drives a guest from its start to its end.
pub type Solo = fn(&mut Guest, &Machine) -> Result<Vec<Verdict>>;

/// For [`Shared::beside`] and [`Shared::after`].
pub fn nothing(_: &Machine) -> Vec<Verdict> {
    Vec::new()
}

/// Runs `e2fsck -f` on an image without touching it; anything but "clean" is an error.
pub fn check_file_system(image: &Path) -> Result<String> {
    let output = tool("e2fsck")?.args(["-f", "-n"]).arg(image).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "e2fsck: {}: {}",
        output.status,
        text.trim()
    );
    Ok("e2fsck -f finds nothing".to_owned())
}

/// One of [`TOOLS`].
pub fn tool(name: &str) -> Result<Command> {
    Ok(Debian::new(&cargo::target()?).program(name)?.command())
}

/// A disk of 16 MiB that takes direct I/O: a block device that L1 has for this, because its file
/// system does not; elsewhere a new file called `name`.
pub fn direct_disk(machine: &Machine, name: &str) -> Result<PathBuf> {
    let mut disk = PathBuf::from(DIRECT_IN_L1);
    if !in_l1() {
        disk = machine.file(name);
        File::create(&disk)?.set_len(16 << 20)?;
    }
    let flags = OFlags::RDWR | OFlags::DIRECT | OFlags::CLOEXEC;
    open(&disk, flags, Mode::empty()).with_context(|| {
        let disk = disk.display();
        format!("{disk} takes no direct I/O; set TMPDIR to a directory that does")
    })?;
    Ok(disk)
}

/// What is mounted there until it is dropped.
#[derive(Debug)]
pub struct Mounted(pub PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Whether we are one level down ([`crate::l1`]).
pub fn in_l1() -> bool {
    Path::new(DIRECT_IN_L1).exists()
}

/// Looks for the first `acknowledged` records called `name` on a disk, as the guest's `record`
/// writes them.
pub fn find_records(disk: &Path, name: &str, acknowledged: u64) -> Result<String> {
    let file = File::open(disk)?;
    for record in 1..=acknowledged {
        let expected = format!("{name} {record}\n");
        let mut found = vec![0; expected.len()];
        file.read_exact_at(&mut found, record_at(record))?;
        ensure!(
            found == expected.as_bytes(),
            "record {record} of {acknowledged} is missing"
        );
    }
    Ok(all_found(acknowledged))
}

/// Where a record's sector is, in bytes.
pub fn record_at(record: u64) -> u64 {
    (4096 + record) * 512
}

/// What is said of a log in which none is missing.
pub fn all_found(acknowledged: u64) -> String {
    format!("{acknowledged} records acknowledged, {acknowledged} found")
}

/// Programs that scenarios use outside of the guest, besides those that every machine has.
pub const TOOLS: &[&str] = &[
    "mke2fs", "e2fsck", "debugfs", "ip", "iperf3", "passt", "qemu-img",
];
const DIRECT_IN_L1: &str = "/run/direct";
/// How long a guest may take to reach user space.
pub const BOOT: Duration = Duration::from_secs(90);
/// How long a guest may say nothing during a scenario.
pub const SILENCE: Duration = Duration::from_secs(150);
