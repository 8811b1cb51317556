//! A child process whose output is read line by line, with a time limit on every wait.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::spawn;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// A running child. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    lines: Receiver<String>,
    name: String,
}

/// Why [`Process::line`] returned no line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// The child closed its output.
    Ended,
    /// The deadline passed.
    TimedOut,
}

impl Process {
    /// Starts `command` with its standard output and error read as one stream of lines.
    ///
    /// The child is killed by the kernel when this process dies, however that happens.
    pub fn spawn(command: &Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = bound_to_parent(command)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let (sender, lines) = channel();
        if let Some(output) = child.stdout.take() {
            forward(output, sender.clone());
        }
        if let Some(errors) = child.stderr.take() {
            forward(errors, sender);
        }
        Ok(Self { child, lines, name })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line of output, without its line end.
    pub fn line(&self, deadline: Instant) -> Result<String, Silence> {
        let left = deadline.saturating_duration_since(Instant::now());
        self.lines.recv_timeout(left).map_err(|error| match error {
            RecvTimeoutError::Timeout => Silence::TimedOut,
            RecvTimeoutError::Disconnected => Silence::Ended,
        })
    }

    /// Feeds every line to `each` until the child ends, and returns its status.
    pub fn drain(mut self, deadline: Instant, mut each: impl FnMut(&str)) -> Result<ExitStatus> {
        loop {
            match self.line(deadline) {
                Ok(line) => each(&line),
                Err(Silence::Ended) => return self.wait(deadline),
                Err(Silence::TimedOut) => bail!(killed(&self.name)),
            }
        }
    }

    /// Waits for the child to end.
    pub fn wait(&mut self, deadline: Instant) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                bail!(killed(&self.name));
            }
            std::thread::sleep(POLL);
        }
    }

    /// Whether the child has not ended yet.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) -> Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), Signal::TERM)?)
    }

    /// Sends SIGKILL and waits, but not for ever: a process that its kernel holds does not end.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.child.kill()?;
        self.wait(Instant::now() + DEATH)
    }

    /// What its threads and those of its children do, a line each: name, state, where the kernel has
    /// them wait, and the clock ticks that they were given in a second.
    pub fn threads(&self) -> String {
        let before = Thread::all(self.id());
        std::thread::sleep(Duration::from_secs(1));
        let threads = Thread::all(self.id()).into_iter().map(|(number, now)| {
            let ticks = before
                .get(&number)
                .map_or(now.ticks, |then| now.ticks - then.ticks);
            format!("\n      {} {} {} {ticks}", now.name, now.state, now.place)
        });
        threads.collect()
    }
}

/// A thread of a process, as proc(5) shows it.
struct Thread {
    name: String,
    state: String,
    place: String,
    ticks: u64,
}

impl Thread {
    /// By number; a thread that ends while we look is left out.
    fn all(process: u32) -> BTreeMap<String, Self> {
        let mut threads = BTreeMap::new();
        for task in fs::read_dir(format!("/proc/{process}/task"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let number = task.file_name().to_string_lossy().into_owned();
            threads.extend(Self::of(&task.path()).map(|thread| (number, thread)));
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            let children = children.split_whitespace().flat_map(str::parse);
            threads.extend(children.flat_map(Self::all));
        }
        threads
    }

    fn of(task: &Path) -> Option<Self> {
        let stat = fs::read_to_string(task.join("stat")).ok()?;
        // A name may have spaces and parentheses of its own.
        let (head, fields) = stat.rsplit_once(") ")?;
        let fields: Vec<_> = fields.split(' ').collect();
        let ticks = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self {
            name: head.split_once('(')?.1.to_owned(),
            state: (*fields.first()?).to_owned(),
            place: fs::read_to_string(task.join("wchan")).unwrap_or_default(),
            ticks: ticks(USER_TIME)? + ticks(SYSTEM_TIME)?,
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only for a child that has ended already.
        let _ = self.kill();
    }
}

/// Runs `command` to its end and returns its standard output; its errors become the error's text.
pub fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let result = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {name}"))?;
    if !result.status.success() {
        bail!(
            "{name}: {}: {}",
            result.status,
            String::from_utf8_lossy(&result.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&result.stdout).into_owned())
}

/// The same command under `setpriv --pdeathsig`, which spares us an `unsafe` `pre_exec`.
fn bound_to_parent(command: &Command) -> Command {
    let mut bound = Command::new("setpriv");
    bound
        .args(["--pdeathsig", "KILL", "--"])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bound.env(name, value),
            None => bound.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        bound.current_dir(directory);
    }
    bound
}

fn forward(stream: impl Read + Send + 'static, lines: Sender<String>) {
    spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut bytes = Vec::new();
        while matches!(reader.read_until(b'\n', &mut bytes), Ok(1..)) {
            let line = String::from_utf8_lossy(&bytes)
                .trim_end_matches(['\r', '\n'])
                .to_owned();
            if lines.send(line).is_err() {
                return;
            }
            bytes.clear();
        }
    });
}

fn killed(name: &str) -> String {
    format!("{name} did not end in time and was killed")
}

const POLL: Duration = Duration::from_millis(20);
/// How long a process may take to go once it was killed.
const DEATH: Duration = Duration::from_secs(30);
/// Fields of proc(5)'s `stat`, counted from the state.
const USER_TIME: usize = 11;
const SYSTEM_TIME: usize = 12;

#[cfg(test)]
mod tests {
    use super::Process;
    use std::process::Command;
    use std::time::{Duration, Instant};

    #[test]
    fn process_output_arrives_line_by_line() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo two >&2; exit 3"]);
        let mut lines = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(10);
        let status = Process::spawn(&command)
            .unwrap()
            .drain(deadline, |line| lines.push(line.to_owned()))
            .unwrap();
        lines.sort();
        assert_eq!(lines, ["one", "two"]);
        assert_eq!(status.code(), Some(3));
    }

    #[test]
    fn process_shows_what_its_threads_do() {
        let mut command = Command::new("sleep");
        command.arg("60");
        let process = Process::spawn(&command).unwrap();
        let threads = process.threads();
        assert!(threads.contains("\n      sleep S "), "{threads:?}");
    }

    #[test]
    fn process_that_hangs_is_killed_at_its_deadline() {
        let mut command = Command::new("sleep");
        command.arg("60");
        let deadline = Instant::now() + Duration::from_millis(100);
        let error = Process::spawn(&command)
            .unwrap()
            .drain(deadline, |_| ())
            .unwrap_err();
        assert!(error.to_string().contains("did not end in time"), "{error}");
        assert!(Instant::now() < deadline + Duration::from_secs(5));
    }
}
