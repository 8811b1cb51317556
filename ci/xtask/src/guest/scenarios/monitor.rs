//! What is done to a guest from outside while it runs, over QMP and at the other ends of its devices:
//! it is stopped, and its clock with it; it closes a port; its console gets another size; it writes in an emergency;
//! its entropy comes from a daemon; its disks' host is full for a while; its power button is pressed,
//! and it turns itself off.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use super::full;
use crate::guest::machine::Machine;
use crate::guest::qmp::Qmp;
use crate::guest::scenario::{BOOT, Play, SILENCE, Scenario};
use crate::guest::session::{Guest, Report};
use crate::guest::verdict::Verdict;
use crate::socket;

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "monitor",
    equip,
    play: Play::Alone(play),
};

fn equip(machine: &mut Machine) -> Result<()> {
    machine.processors = 1;
    machine.monitor_qmp("monitor");
    machine.device("virtio-serial-pci,id=ports,console-size=on");
    machine.socket("console");
    machine.device("virtconsole,bus=ports.0,chardev=console");
    machine.socket("ticks");
    machine.device("virtserialport,bus=ports.0,id=ticker,chardev=ticks,name=org.example.ticks");
    machine.socket("daemon");
    machine.option("-object", "rng-egd,id=entropy,chardev=daemon");
    machine.device("virtio-rng-pci,rng=entropy");
    full::equip(machine)?;
    // What else than its time would tell that it was stopped, and who may write to a device's memory.
    machine.parameter("clocksource=kvm-clock iomem=relaxed");
    Ok(())
}

fn play(guest: &mut Guest, machine: &Machine) -> Result<Vec<Verdict>> {
    let _full = full::mounted(machine);
    let daemon = socket::connect(&machine.file("daemon"))?;
    let daemon = spawn(move || serve(daemon));
    let mut monitor = Qmp::connect(&machine.file("monitor"))?;
    let console = socket::connect(&machine.file("console"))?;
    let ticks = socket::connect(&machine.file("ticks"))?;
    let mut outside = Outside {
        machine,
        monitor: &mut monitor,
        ticks: BufReader::new(ticks),
        console,
    };
    match outside.accompany(guest) {
        Ok(verdicts) => end(daemon, verdicts),
        Err(error) => {
            // What it says before it ends, if it does, is why.
            while !matches!(guest.report(PAUSE), Err(_) | Ok(Report::Ended)) {}
            Err(error.context(guest.last_words()))
        }
    }
}

/// The other ends of the guest's devices.
struct Outside<'a> {
    machine: &'a Machine,
    monitor: &'a mut Qmp,
    ticks: BufReader<UnixStream>,
    console: UnixStream,
}

impl Outside<'_> {
    /// Does each thing when the guest is ready for it.
    fn accompany(&mut self, guest: &mut Guest) -> Result<Vec<Verdict>> {
        let mut verdicts = Vec::new();
        guest.ready(BOOT)?;
        loop {
            match guest.report(SILENCE)? {
                Report::Verdict(verdict) => verdicts.push(verdict),
                Report::Fact { name, value } if name == "step" => match value.as_str() {
                    "pause" => verdicts.push(Verdict::of("monitor-pause", self.pause())),
                    "close" => verdicts.push(Verdict::of("monitor-port", self.port())),
                    "resize" => self.resize()?,
                    "emergency" => {
                        verdicts.push(Verdict::of("monitor-emergency", self.emergency()));
                    }
                    "full" => {
                        let done = full::make_room(self.machine, self.monitor);
                        verdicts.push(Verdict::of("monitor-full", done));
                    }
                    "powerdown" => {
                        self.monitor.execute("system_powerdown", json!({}))?;
                    }
                    other => bail!("what is the step {other:?}?"),
                },
                Report::Done => {
                    self.monitor.event("POWERDOWN", |_| true)?;
                    self.monitor
                        .event("SHUTDOWN", |data| data["guest"] == true)?;
                    return Ok(verdicts);
                }
                Report::Ended => bail!("{}", guest.early_end()),
                _ => {}
            }
        }
    }

    /// Nothing is heard while the guest is stopped, and to its own clock that was no time.
    fn pause(&mut self) -> Result<String> {
        let before = self.tick()?;
        self.monitor.execute("stop", json!({}))?;
        let status = self.monitor.execute("query-status", json!({}))?;
        ensure!(status["status"] == "paused", "{status}");
        let usual = self.ticks.get_ref().read_timeout()?;
        self.ticks.get_ref().set_read_timeout(Some(PAUSE))?;
        // What was said before the stop may still be on its way.
        let mut last = before;
        while let Ok(tick) = self.tick() {
            ensure!(tick - before < PAUSE.as_secs_f64(), "it goes on: {tick}");
            last = tick;
        }
        self.ticks.get_ref().set_read_timeout(usual)?;
        self.monitor.execute("cont", json!({}))?;
        let after = self.tick()?;
        ensure!(
            after - last < PAUSE.as_secs_f64(),
            "its clock went from {last} to {after} in a pause"
        );
        Ok(format!(
            "stopped for {PAUSE:?}, its clock goes on from {last} to {after}"
        ))
    }

    /// The guest has closed the port that it had opened.
    fn port(&mut self) -> Result<String> {
        for open in [true, false] {
            let expected = json!({"id": "ticker", "open": open});
            self.monitor
                .event("VSERPORT_CHANGE", |data| *data == expected)?;
        }
        Ok("its monitor hears that a port is opened and closed".to_owned())
    }

    fn tick(&mut self) -> Result<f64> {
        let mut line = String::new();
        self.ticks.read_line(&mut line)?;
        line.trim()
            .parse()
            .with_context(|| format!("no time: {line:?}"))
    }

    fn resize(&mut self) -> Result<()> {
        let size = json!({"id": "console", "cols": 132, "rows": 40});
        self.monitor.execute("chardev-window-size-changed", size)?;
        Ok(())
    }

    fn emergency(&mut self) -> Result<String> {
        let mut character = [0];
        self.console.read_exact(&mut character)?;
        ensure!(&character == b"!", "the console says {character:?}");
        Ok("a character comes without a queue".to_owned())
    }
}

/// A daemon of the protocol of EGD, whose entropy is none.
fn serve(mut guest: UnixStream) -> Result<usize> {
    let (mut question, mut questions) = ([0; 2], 0);
    while guest.read_exact(&mut question).is_ok() {
        let [2, wanted] = question else {
            bail!("asked {question:?}");
        };
        let bytes = [0xe6, 0xd0].into_iter().cycle();
        let bytes: Vec<_> = bytes.take(wanted.into()).collect();
        guest.write_all(&bytes)?;
        questions += 1;
        // As one that has to wait for its source.
        sleep(Duration::from_millis(1));
    }
    Ok(questions)
}

fn end(daemon: JoinHandle<Result<usize>>, mut verdicts: Vec<Verdict>) -> Result<Vec<Verdict>> {
    let Ok(asked) = daemon.join() else {
        bail!("the daemon crashed");
    };
    let asked = asked.map(|questions| format!("asked {questions} times"));
    verdicts.push(Verdict::of("monitor-daemon", asked));
    Ok(verdicts)
}

const PAUSE: Duration = Duration::from_secs(3);
