//! A guest that runs: what it reports on its early console, and its end.
//!
//! A report is a console line that contains `@@ ` and then a word and its arguments; see
//! `guest/lib.sh` for the guest's side. Every line goes to a log file, too.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::process::ExitStatus;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::console::{Paint, line};
use crate::guest::machine::{LOG, Machine};
use crate::guest::scenario::{SILENCE, in_l1};
use crate::guest::verdict::Verdict;
use crate::l1;
use crate::process::{Process, Silence};
use crate::pulse::Pulses;

/// A guest under a VMM. Dropping it kills the VMM.
#[derive(Debug)]
pub struct Guest {
    process: Process,
    log: File,
    recent: VecDeque<String>,
    /// When a reader of our output last saw that the guest is at work.
    sign: Instant,
    /// Of the guest's processors, where it was asked for them.
    pulses: Pulses,
}

/// What a guest says.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// User space runs, this many seconds after the kernel's start.
    Ready(f64),
    /// A check passed or failed.
    Verdict(Verdict),
    /// Record number so-and-so is on stable storage.
    Acknowledged(u64),
    /// A fact, for the demo and the benchmarks.
    Fact {
        /// What it is about.
        name: String,
        /// The fact itself.
        value: String,
    },
    /// All scenarios are done; the guest turns itself off now.
    Done,
    /// The VMM ended, because the guest turned itself off or otherwise.
    Ended,
}

impl Guest {
    /// Starts `machine`.
    pub fn start(machine: &Machine) -> Result<Self> {
        let process = Process::spawn(&machine.command())?;
        let log = File::create(machine.file(LOG))?;
        Ok(Self {
            process,
            log,
            recent: VecDeque::new(),
            sign: Instant::now(),
            pulses: Pulses::new(PULSELESS),
        })
    }

    /// The next report; an error if none comes within `limit`, or if one of the guest's processors
    /// gives no sign of life any more.
    pub fn report(&mut self, limit: Duration) -> Result<Report> {
        let deadline = Instant::now() + limit;
        loop {
            let next = self.pulses.due().map_or(deadline, |due| due.min(deadline));
            match self.process.line(next) {
                Ok(line) => {
                    if let Some(report) = self.hear(&line)? {
                        return Ok(report);
                    }
                }
                Err(Silence::Ended) => return Ok(Report::Ended),
                Err(Silence::TimedOut) => bail!("{}", self.silence(limit)),
            }
        }
    }

    /// Looks every so often until there is something, and returns it; an error if that takes longer than
    /// `limit`, or if the VMM ends. What the guest says meanwhile is kept for [`Guest::report`].
    pub fn until<T>(&mut self, limit: Duration, look: impl Fn() -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + limit;
        loop {
            let running = self.process.is_running()?;
            if let Some(found) = look() {
                return Ok(found);
            }
            ensure!(running, "{}", self.early_end());
            ensure!(Instant::now() < deadline, "{}", self.silence(limit));
            sleep(LOOK);
        }
    }

    /// What a line reports, if anything.
    fn hear(&mut self, line: &str) -> Result<Option<Report>> {
        writeln!(self.log, "{line}").context("the console's log")?;
        if self.pulses.hear(line) {
            return Ok(None);
        }
        self.keep(line);
        let report = parse(line);
        if report.is_some() {
            self.show_life(line);
        }
        if report == Some(Report::Done) || line.contains(RESTART) {
            self.pulses.forget();
        }
        Ok(report)
    }

    fn silence(&self, limit: Duration) -> String {
        let silent = match self.pulses.lost() {
            Some(processor) => format!("{} s on processor {processor}", PULSELESS.as_secs()),
            None => format!("{} s", limit.as_secs()),
        };
        let (threads, words) = (self.process.threads(), self.last_words());
        format!("{SILENT} {silent}; the VMM's threads:{threads}\n{words}")
    }

    /// Waits for user space and returns the guest's own time, in seconds.
    pub fn ready(&mut self, limit: Duration) -> Result<f64> {
        match self.report(limit)? {
            Report::Ready(time) => Ok(time),
            other => bail!("expected user space, got {other:?}; {}", self.last_words()),
        }
    }

    /// What it reports of its checks until the VMM ends, and whether it said before that it is done.
    pub fn verdicts(&mut self) -> Result<(Vec<Verdict>, bool)> {
        let (mut verdicts, mut done) = (Vec::new(), false);
        loop {
            match self.report(SILENCE)? {
                Report::Verdict(verdict) => verdicts.push(verdict),
                Report::Done => done = true,
                Report::Ended => return Ok((verdicts, done)),
                _ => {}
            }
        }
    }

    /// Waits for the VMM of a guest that said [`Report::Done`] to end, and insists on success.
    pub fn end(mut self) -> Result<()> {
        let deadline = Instant::now() + POWER_OFF;
        while self.report(POWER_OFF)? != Report::Ended {}
        let status = self.process.wait(deadline)?;
        ensure!(
            status.success(),
            "the VMM ended with {status}; {}",
            self.last_words()
        );
        Ok(())
    }

    /// SIGKILL, as hard as it gets.
    ///
    /// One level down, a VMM that does not end even so has a processor that stopped for good. Then
    /// nothing there can be relied upon, threads that serve the VMM's sockets never end, and this
    /// process does: see [`l1::give_up`].
    pub fn kill(&mut self) -> Result<ExitStatus> {
        let killed = self.process.kill();
        if in_l1() && killed.is_err() {
            l1::give_up("a VMM does not even die");
        }
        killed
    }

    /// SIGTERM; the VMM must end in order. Returns the last record that was acknowledged, `last` if
    /// there is none after it.
    pub fn terminate(&mut self, mut last: u64) -> Result<u64> {
        self.process.terminate()?;
        while let Report::Acknowledged(record) = self.report(POWER_OFF)? {
            last = record;
        }
        let status = self.process.wait(Instant::now() + POWER_OFF)?;
        ensure!(
            status.success(),
            "the VMM ended with {status}; {}",
            self.last_words()
        );
        Ok(last)
    }

    /// What to say of a VMM that ended too early: how, and the last lines of the console.
    pub fn early_end(&mut self) -> String {
        let status = self.process.wait(Instant::now() + POWER_OFF);
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        format!("the VMM ended too early, {status}; {}", self.last_words())
    }

    /// The VMM's process id.
    pub fn process(&self) -> u32 {
        self.process.id()
    }

    /// The last lines of the console, for an error message.
    pub fn last_words(&self) -> String {
        let lines: Vec<_> = self
            .recent
            .iter()
            .map(|line| format!("\n      {line}"))
            .collect();
        format!("the console's last lines:{}", lines.concat())
    }

    /// Many a scenario prints its verdicts at its end; until then this tells it from one that hangs.
    fn show_life(&mut self, report: &str) {
        if self.sign.elapsed() >= SIGN {
            line(Paint::Faint.on(format!("  {report}")));
            self.sign = Instant::now();
        }
    }

    fn keep(&mut self, line: &str) {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(line.to_owned());
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // Fails only where the VMM has ended already.
        let _ = self.kill();
    }
}

/// A kernel message may stand before the mark on the same line.
fn parse(line: &str) -> Option<Report> {
    let (_, report) = line.split_once("@@ ")?;
    let (word, rest) = report.split_once(' ').unwrap_or((report, ""));
    let (name, value) = rest.split_once(' ').unwrap_or((rest, ""));
    let (name, value) = (name.to_owned(), value.trim().to_owned());
    match word {
        "ready" => name.parse().ok().map(Report::Ready),
        "pass" => Some(Report::Verdict(Verdict {
            check: name,
            result: Ok(value),
        })),
        "fail" => Some(Report::Verdict(Verdict {
            check: name,
            result: Err(value),
        })),
        "done" => Some(Report::Done),
        "ack" => name.parse().ok().map(Report::Acknowledged),
        "fact" => Some(Report::Fact { name, value }),
        _ => None,
    }
}

/// How the error begins that says that nothing was reported in time.
pub const SILENT: &str = "silent for";
/// Printed by the kernel, whatever the log level.
const RESTART: &str = "reboot: Restarting system";
const RECENT: usize = 25;
/// How long a processor may give no sign of life: a dozen times as long as it does.
const PULSELESS: Duration = Duration::from_secs(60);
/// How often a guest at work is shown to be, at most.
const SIGN: Duration = Duration::from_secs(20);
/// Long enough that looking costs the guest nothing.
const LOOK: Duration = Duration::from_millis(10);
/// A disk of the host that is busy with others makes a last flush slow.
const POWER_OFF: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::{Report, parse};
    use crate::guest::verdict::Verdict;

    #[test]
    fn session_parses_reports_and_nothing_else() {
        assert_eq!(
            parse("[    1.0] noise @@ ready 3.25"),
            Some(Report::Ready(3.25))
        );
        assert_eq!(parse("@@ ack 17"), Some(Report::Acknowledged(17)));
        let fail = Verdict {
            check: "rng".into(),
            result: Err("too slow".into()),
        };
        assert_eq!(parse("@@ fail rng too slow"), Some(Report::Verdict(fail)));
        assert_eq!(parse("@@ ack many"), None);
        assert_eq!(parse("@@ dance"), None);
        assert_eq!(parse("login:"), None);
    }
}
