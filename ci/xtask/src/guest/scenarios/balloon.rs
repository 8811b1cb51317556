//! Memory that the guest gives back, measured as resident memory of the VMM: by inflation, and by
//! free page reporting, which takes no command. A guest that runs out of memory has it back from
//! the balloon, and the statistics are the guest's. On PCI with packed rings, and on MMIO.

use std::fs;
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use crate::guest::errand;
use crate::guest::machine::Machine;
use crate::guest::qmp::Qmp;
use crate::guest::scenario::{BOOT, Play, SILENCE, Scenario};
use crate::guest::session::{Guest, Report};
use crate::guest::verdict::Verdict;

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "balloon",
    equip: |machine| {
        let device = "virtio-balloon-pci,packed=on,deflate-on-oom=on";
        equip(machine, device, "virtio-serial-pci")
    },
    play: Play::Alone(play),
};

/// On MMIO, with free page reporting; so is the port that the guest is served by.
pub const REPORTING: Scenario = Scenario {
    name: "balloon-reporting",
    equip: |machine| {
        let device = "virtio-balloon-device,free-page-reporting=on";
        equip(machine, device, "virtio-serial-device")
    },
    play: Play::Alone(play),
};

fn equip(machine: &mut Machine, device: &str, serial: &str) -> Result<()> {
    machine.spare_processors();
    machine.device(&format!("{device},id=balloon"));
    machine.device(&format!("{serial},id=ports"));
    machine.socket(PORT);
    machine.device(&format!(
        "virtserialport,bus=ports.0,chardev={PORT},name=org.example.{PORT}"
    ));
    machine.monitor_qmp(MONITOR);
    Ok(())
}

fn play(guest: &mut Guest, machine: &Machine) -> Result<Vec<Verdict>> {
    let host = serve(machine, guest.process());
    guest.ready(BOOT)?;
    let mut verdicts = Vec::new();
    loop {
        match guest.report(SILENCE)? {
            Report::Verdict(verdict) => verdicts.push(verdict),
            Report::Done => break,
            other => bail!("expected verdicts, got {other:?}; {}", guest.last_words()),
        }
    }
    // It ends when the VMM does.
    drop(host);
    Ok(verdicts)
}

/// Does what the guest asks for, in a thread that ends with the VMM.
fn serve(machine: &Machine, vmm: u32) -> JoinHandle<Result<usize>> {
    let machine = machine.clone();
    spawn(move || {
        let mut host = Host {
            monitor: Qmp::connect(&machine.file(MONITOR))?,
            vmm,
            filled: 0,
        };
        errand::serve(&machine.file(PORT), |word| host.obey(word))
    })
}

struct Host {
    monitor: Qmp,
    vmm: u32,
    /// Resident memory, in MiB, while the guest used it.
    filled: u64,
}

impl Host {
    fn obey(&mut self, word: &str) -> Result<String> {
        match word {
            "filled" => {
                self.filled = self.resident()?;
                Ok(format!("{} MiB", self.filled))
            }
            "reported" => self.wait_for_reports(),
            "inflate" => self.inflate(),
            "grown" => {
                let actual = self.actual()?;
                ensure!(actual > SMALL, "the guest has {actual} MiB, as before");
                Ok(format!("the guest took back {} MiB", actual - SMALL))
            }
            "deflate" => {
                self.resize(LARGE)?;
                Ok(format!("the guest has {LARGE} MiB"))
            }
            "squeeze" => {
                self.resize(SMALL)?;
                self.resize(LARGE)?;
                Ok(format!("the guest had {SMALL} MiB for a while"))
            }
            "stats" => self.stats(),
            _ => bail!("what is {word:?}?"),
        }
    }

    /// The guest has filled memory and let go of it.
    fn inflate(&mut self) -> Result<String> {
        let before = self.resident()?;
        self.resize(SMALL)?;
        let after = self.resident()?;
        let freed = before.saturating_sub(after);
        ensure!(freed >= ENOUGH, "{before} MiB were resident, {after} are");
        Ok(format!("resident: {before} MiB before, {after} after"))
    }

    /// The guest has let go of what it had filled.
    fn wait_for_reports(&self) -> Result<String> {
        let (deadline, filled) = (Instant::now() + PATIENCE, self.filled);
        loop {
            let now = self.resident()?;
            if now + ENOUGH <= filled {
                return Ok(format!("resident: {filled} MiB at most, {now} now"));
            }
            let in_time = Instant::now() < deadline;
            ensure!(in_time, "{filled} MiB were resident, {now} are");
            sleep(PAUSE);
        }
    }

    fn resize(&mut self, size: u64) -> Result<()> {
        let arguments = json!({"value": size << 20});
        self.monitor.execute("balloon", arguments)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let actual = self.actual()?;
            if actual == size {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{actual} MiB instead of {size}");
            sleep(PAUSE);
        }
    }

    fn stats(&mut self) -> Result<String> {
        let path = "/machine/peripheral/balloon";
        let set = |seconds: u32| json!({"path": path, "property": INTERVAL, "value": seconds});
        let get = json!({"path": path, "property": "guest-stats"});
        let last = self.monitor.execute("qom-get", get.clone())?["last-update"].clone();
        self.monitor.execute("qom-set", set(1))?;
        let deadline = Instant::now() + PATIENCE;
        let report = loop {
            let report = self.monitor.execute("qom-get", get.clone())?;
            if report["last-update"] != last {
                break report;
            }
            ensure!(Instant::now() < deadline, "no statistics: {report}");
            sleep(PAUSE);
        };
        self.monitor.execute("qom-set", set(0))?;
        let value = |name: &str| report["stats"][name].as_u64().context("no number");
        let (total, free) = (value("stat-total-memory")?, value("stat-free-memory")?);
        let plausible = (LARGE << 19..LARGE << 20).contains(&total) && free < total;
        ensure!(plausible, "{report}");
        Ok(format!("{} of {} MiB are free", free >> 20, total >> 20))
    }

    /// MiB that the guest has.
    fn actual(&mut self) -> Result<u64> {
        let reply = self.monitor.execute("query-balloon", json!({}))?;
        Ok(reply["actual"].as_u64().context("no number")? >> 20)
    }

    /// Resident memory of the VMM in MiB.
    fn resident(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.vmm))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let words = line.context("no VmRSS")?.split_whitespace().next();
        Ok(words.context("no number")?.parse::<u64>()? >> 10)
    }
}

const PORT: &str = "host";
const MONITOR: &str = "monitor-qmp";
const INTERVAL: &str = "guest-stats-polling-interval";
/// Of the guest's memory, in MiB: all, and with the balloon inflated.
const LARGE: u64 = 512;
const SMALL: u64 = 320;
/// What must be given back at least, in MiB.
const ENOUGH: u64 = 128;
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(200);
