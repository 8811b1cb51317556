//! What the guest has done to the machine as a whole, and what the VMM has open.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::guest::errand;
use crate::guest::machine::Machine;
use crate::guest::qmp::Qmp;

/// Gives the machine the desk's port and monitor.
pub(super) fn equip(machine: &mut Machine) {
    machine.socket(NAME);
    machine.device(&format!(
        "virtserialport,bus=lanes.0,chardev={NAME},name=org.example.{NAME}"
    ));
    machine.monitor_qmp(MONITOR);
}

/// Serves the guest of the VMM with this process id, in a thread that ends when the VMM does.
pub(super) fn serve(machine: &Machine, vmm: u32) -> JoinHandle<Result<()>> {
    let machine = machine.clone();
    spawn(move || obey(&machine, vmm))
}

fn obey(machine: &Machine, vmm: u32) -> Result<()> {
    let mut monitor = Qmp::connect(&machine.file(MONITOR))?;
    let mut before = Counts::new();
    let obey = |words: &str| {
        match words {
            "count before" => {
                sleep(SETTLING);
                before = count(&mut monitor, machine, vmm)?;
            }
            "count after" => {
                settle(|| count(&mut monitor, machine, vmm), &before)?;
                return Ok(format!("as before: {}", listed(&before)));
            }
            words => act(&mut monitor, words)?,
        }
        Ok(String::new())
    };
    errand::serve(&machine.file(NAME), obey).map(drop)
}

fn act(monitor: &mut Qmp, words: &str) -> Result<()> {
    match words {
        "resize" => {
            let arguments = json!({"device": "resize", "size": 32 << 20});
            monitor.execute("block_resize", arguments).map(drop)
        }
        "pause" => {
            monitor.execute("stop", json!({}))?;
            sleep(PAUSE);
            monitor.execute("cont", json!({})).map(drop)
        }
        "press" => monitor.execute("system_powerdown", json!({})).map(drop),
        _ => bail!("what is {words:?}?"),
    }
}

/// How many of each kind.
type Counts = BTreeMap<String, usize>;

/// Insists that the counts are as `before`, which the end of a thread may take a moment for.
fn settle(mut count: impl FnMut() -> Result<Counts>, before: &Counts) -> Result<()> {
    let deadline = Instant::now() + SETTLING;
    loop {
        let after = count()?;
        if after == *before {
            return Ok(());
        }
        let changes = changes(before, &after);
        ensure!(Instant::now() < deadline, "{changes}");
        sleep(PAUSE);
    }
}

/// The threads, the descriptors, and what there is of KVM.
fn listed(counts: &Counts) -> String {
    let (mut threads, mut descriptors, mut others) = (0, 0, String::new());
    for (kind, number) in counts {
        if let Some(kind) = kind.strip_prefix(KVM) {
            others.push_str(&format!(", {number} {kind}"));
        } else if kind.starts_with(THREAD) {
            threads += number;
        } else {
            descriptors += number;
        }
    }
    format!("{threads} threads, {descriptors} descriptors{others}")
}

/// Which counts differ, and how.
fn changes(before: &Counts, after: &Counts) -> String {
    let kinds: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let number = |counts: &Counts, kind| counts.get(kind).copied().unwrap_or_default();
    let changes = kinds.into_iter().filter_map(|kind| {
        let (before, after) = (number(before, kind), number(after, kind));
        (before != after).then(|| format!("{kind}: {before} became {after}"))
    });
    changes.collect::<Vec<_>>().join(", ")
}

/// What the VMM, whose process id is `vmm`, has of the system, and says it has of KVM. Messages of our
/// devices are fired without a route, so that the routes are none as long as nobody takes an irqfd.
fn count(monitor: &mut Qmp, machine: &Machine, vmm: u32) -> Result<Counts> {
    let mut counts = count_of_process(vmm)?;
    if machine.vmm.is_ours() {
        let tally = monitor.execute("x-query-kvm-tally", json!({}))?;
        let kinds = tally.as_object().context("a tally")?.iter();
        let number = |number: &Value| number.as_u64().unwrap_or_default() as usize;
        counts.extend(kinds.map(|(kind, value)| (format!("{KVM}{kind}"), number(value))));
    }
    ensure!(
        counts.get("KVM ioeventfds") != Some(&0),
        "no doorbell of the devices that stay is counted"
    );
    Ok(counts)
}

/// Threads by name and descriptors by what they lead to, of a process. The kernel's own threads for
/// its io_urings come and go as it likes.
fn count_of_process(process: u32) -> Result<Counts> {
    let mut counts = Counts::new();
    for entry in fs::read_dir(format!("/proc/{process}/task"))? {
        let name = fs::read_to_string(entry?.path().join("comm")).unwrap_or_default();
        if !name.starts_with("iou-wrk-") {
            *counts
                .entry(format!("{THREAD}{}", name.trim()))
                .or_default() += 1;
        }
    }
    for entry in fs::read_dir(format!("/proc/{process}/fd"))? {
        let target = fs::read_link(entry?.path()).unwrap_or_default();
        let target = target.to_string_lossy();
        // Sockets and pipes have numbers of their own.
        let kind = target.split('[').next().unwrap_or_default();
        let kind = if kind == "anon_inode:" { &target } else { kind };
        *counts.entry(kind.to_owned()).or_default() += 1;
    }
    Ok(counts)
}

const NAME: &str = "desk";
const MONITOR: &str = "desk-monitor";
/// How kinds of threads begin, and those of KVM; all others are kinds of descriptors.
const THREAD: &str = "thread ";
const KVM: &str = "KVM ";
const PAUSE: Duration = Duration::from_millis(300);
/// Longer than a thread needs to end.
const SETTLING: Duration = Duration::from_secs(3);
