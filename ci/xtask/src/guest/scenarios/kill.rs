//! kill -9 of the VMM while the guest appends records to a log, each followed by fsync and an
//! acknowledgement. From outside: the journal replays, the file system is clean, and no
//! acknowledged record is missing.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use crate::guest::machine::Machine;
use crate::guest::scenario::{BOOT, Play, SILENCE, Scenario, check_file_system};
use crate::guest::session::{Guest, Report};
use crate::guest::verdict::Verdict;
use crate::process::output;

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "kill",
    equip,
    play: Play::Alone(play),
};

fn equip(machine: &mut Machine) -> Result<()> {
    machine.disk("virtio-blk-pci,packed=on", "kill", 64 << 20)?;
    output(
        Command::new("mke2fs")
            .args(["-q", "-t", "ext4", "-F"])
            .arg(machine.file("kill")),
    )?;
    Ok(())
}

fn play(guest: &mut Guest, machine: &Machine) -> Result<Vec<Verdict>> {
    guest.ready(BOOT)?;
    let acknowledged = acknowledged_before_kill(guest)?;
    let image = machine.file("kill");
    Ok(vec![
        Verdict::of("kill-journal", replay(&image)),
        Verdict::of("kill-e2fsck", check_file_system(&image)),
        Verdict::of("kill-records", find_records(&image, acknowledged)),
    ])
}

/// Listens for a while, then kills; what was acknowledged in between counts as well.
fn acknowledged_before_kill(guest: &mut Guest) -> Result<u64> {
    let (start, mut last) = (Instant::now(), 0);
    while last < ENOUGH_RECORDS || start.elapsed() < ENOUGH_TIME {
        last = match guest.report(SILENCE)? {
            Report::Acknowledged(record) => record,
            other => bail!(
                "expected acknowledgements, got {other:?}; {}",
                guest.last_words()
            ),
        };
    }
    guest.kill()?;
    while let Report::Acknowledged(record) = guest.report(SILENCE)? {
        last = record;
    }
    Ok(last)
}

/// What a mount would do first. 1 means that something was corrected: the journal was replayed.
fn replay(image: &Path) -> Result<String> {
    let output = Command::new("e2fsck")
        .args(["-f", "-y"])
        .arg(image)
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(
        matches!(output.status.code(), Some(0 | 1)),
        "e2fsck: {}: {}",
        output.status,
        text.trim()
    );
    Ok("e2fsck replays the journal".to_owned())
}

fn find_records(image: &Path, acknowledged: u64) -> Result<String> {
    let log = output(Command::new("debugfs").args(["-R", "cat /log"]).arg(image))?;
    let mut expected = 1..=acknowledged;
    for line in log.lines().take(acknowledged as usize) {
        let number = line
            .strip_prefix("record ")
            .and_then(|number| number.parse().ok());
        ensure!(
            number == expected.next(),
            "the log has {line:?} in a wrong place"
        );
    }
    match expected.next() {
        None => Ok(format!(
            "{acknowledged} records acknowledged, {acknowledged} found"
        )),
        Some(first) => bail!("record {first} of {acknowledged} is missing"),
    }
}

const ENOUGH_RECORDS: u64 = 40;
const ENOUGH_TIME: Duration = Duration::from_secs(4);
