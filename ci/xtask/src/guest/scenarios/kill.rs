//! kill -9 of the VMM in the middle of writes. The guest appends records to a log with fsync (on a
//! packed ring, write-back), to a raw disk with fsync (direct I/O, through io_uring), and to one
//! without (write-through), and acknowledges them; beside that, writes are always in flight. From
//! outside: the journal replays, the file system is clean, and no acknowledged record is missing.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use crate::guest::machine::Machine;
use crate::guest::scenario::{
    BOOT, Play, SILENCE, Scenario, all_found, check_file_system, direct_disk, find_records, tool,
};
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
        tool("mke2fs")?
            .args(["-q", "-t", "ext4", "-F"])
            .arg(machine.file("kill")),
    )?;
    let direct = direct_disk(machine, "kill-direct")?;
    machine.drive("virtio-blk-pci", "kill-direct", &direct, "cache=none,");
    let through = machine.file("kill-through");
    File::create(&through)?.set_len(16 << 20)?;
    let how = "cache=writethrough,";
    machine.drive("virtio-blk-pci,packed=on", "kill-through", &through, how);
    Ok(())
}

fn play(guest: &mut Guest, machine: &Machine) -> Result<Vec<Verdict>> {
    guest.ready(BOOT)?;
    let direct = direct_disk(machine, "kill-direct")?;
    let Killed { last, in_flight } = kill(guest)?;
    let image = machine.file("kill");
    let in_flight = format!("writes in flight before, packed and direct: {in_flight}");
    Ok(vec![
        Verdict::of("kill-midst", Ok(in_flight)),
        Verdict::of("kill-journal", replay(&image)),
        Verdict::of("kill-e2fsck", check_file_system(&image)),
        Verdict::of("kill-records", find_log(&image, last)),
        Verdict::of("kill-direct", find_records(&direct, "kill", last)),
        Verdict::of(
            "kill-through",
            find_records(&machine.file("kill-through"), "kill", last),
        ),
    ])
}

/// What the guest had said by then.
struct Killed {
    /// The last record that was acknowledged.
    last: u64,
    /// Writes in flight, of each disk under load.
    in_flight: String,
}

/// Listens for a while, and kills at a moment when both disks have writes in flight; what was
/// acknowledged in between counts as well.
fn kill(guest: &mut Guest) -> Result<Killed> {
    let (start, mut last) = (Instant::now(), 0);
    let in_flight = loop {
        ensure!(start.elapsed() < TOO_MUCH_TIME, "no load on both disks");
        match guest.report(SILENCE)? {
            Report::Acknowledged(record) => last = record,
            Report::Fact { name, value } if name == "in-flight" => {
                let busy = value.split(' ').all(|writes| writes != "0");
                if busy && last >= ENOUGH_RECORDS && start.elapsed() >= ENOUGH_TIME {
                    break value;
                }
            }
            other => bail!("expected records, got {other:?}; {}", guest.last_words()),
        }
    };
    guest.kill()?;
    loop {
        match guest.report(SILENCE)? {
            Report::Acknowledged(record) => last = record,
            Report::Ended => return Ok(Killed { last, in_flight }),
            _ => {}
        }
    }
}

/// What a mount would do first. 1 means that something was corrected: the journal was replayed.
fn replay(image: &Path) -> Result<String> {
    let output = tool("e2fsck")?.args(["-f", "-y"]).arg(image).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(
        matches!(output.status.code(), Some(0 | 1)),
        "e2fsck: {}: {}",
        output.status,
        text.trim()
    );
    Ok("e2fsck replays the journal".to_owned())
}

fn find_log(image: &Path, acknowledged: u64) -> Result<String> {
    let log = output(tool("debugfs")?.args(["-R", "cat /log"]).arg(image))?;
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
        None => Ok(all_found(acknowledged)),
        Some(first) => bail!("record {first} of {acknowledged} is missing"),
    }
}

const ENOUGH_RECORDS: u64 = 25;
const ENOUGH_TIME: Duration = Duration::from_secs(4);
const TOO_MUCH_TIME: Duration = Duration::from_secs(180);
