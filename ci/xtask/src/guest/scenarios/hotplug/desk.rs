//! What the guest has done to the machine as a whole, and what the VMM has open.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use serde_json::json;

use crate::guest::machine::Machine;
use crate::guest::qmp::Qmp;
use crate::socket;

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
    let port = socket::connect(&machine.file(NAME))?;
    let mut before = Counts::new();
    for words in BufReader::new(&port).lines().map_while(Result::ok) {
        let done = match words.as_str() {
            "count before" => {
                sleep(SETTLING);
                count(vmm).map(|counts| before = counts)
            }
            "count after" => compare(vmm, &before),
            words => act(&mut monitor, words),
        };
        let answer = done.map_or_else(|error| format!("{error:#}"), |()| "ok".to_owned());
        writeln!(&port, "{}", answer.replace('\n', " "))?;
    }
    Ok(())
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
        _ => bail!("what is {words:?}?"),
    }
}

/// How many of each kind.
type Counts = BTreeMap<String, usize>;

/// Insists that the counts are as `before`, which the end of a thread may take a moment for.
fn compare(vmm: u32, before: &Counts) -> Result<()> {
    let deadline = Instant::now() + SETTLING;
    loop {
        let after = count(vmm)?;
        if after == *before {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{before:?} became {after:?}");
        sleep(PAUSE);
    }
}

/// Threads by name and descriptors by what they lead to, of a process.
fn count(process: u32) -> Result<Counts> {
    let mut counts = Counts::new();
    for entry in fs::read_dir(format!("/proc/{process}/task"))? {
        let name = fs::read_to_string(entry?.path().join("comm")).unwrap_or_default();
        *counts.entry(format!("thread {}", name.trim())).or_default() += 1;
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
const PAUSE: Duration = Duration::from_millis(300);
/// Longer than a thread needs to end.
const SETTLING: Duration = Duration::from_secs(3);
