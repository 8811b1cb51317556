//! A guest test in data: what the machine needs, what the guest must report, and what is done and
//! checked from outside.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::guest::machine::Machine;
use crate::guest::session::Guest;
use crate::guest::verdict::Verdict;

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
    let output = Command::new("e2fsck")
        .args(["-f", "-n"])
        .arg(image)
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "e2fsck: {}: {}",
        output.status,
        text.trim()
    );
    Ok("e2fsck -f finds nothing".to_owned())
}

/// How long a guest may take to reach user space.
pub const BOOT: Duration = Duration::from_secs(120);
/// How long a guest may say nothing during a scenario.
pub const SILENCE: Duration = Duration::from_secs(180);
