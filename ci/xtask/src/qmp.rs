//! Our monitor beside the public client: the library and the shell of the PyPI package `qemu.qmp`,
//! installed under `target/`, on a machine without processors.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::cargo;
use crate::console::line;
use crate::process::output;
use crate::report::Count;

/// Runs both.
pub fn test() -> Result<Count> {
    cargo::build_as_for_tests()?;
    let client = Client::install(&cargo::target()?)?;
    let mut count = client.library()?;
    count.add(client.shell()?);
    Ok(count)
}

/// The package, in a virtual environment.
struct Client {
    environment: PathBuf,
}

impl Client {
    /// Installs it, if an earlier run did not.
    fn install(target: &Path) -> Result<Self> {
        let environment = target.join("qemu.qmp");
        let client = Self { environment };
        if !client.program("qmp-shell").exists() {
            let python = Path::new("python3");
            output(
                Command::new(python)
                    .args(["-m", "venv"])
                    .arg(&client.environment),
            )
            .context("python3 with its module venv is needed")?;
            let pip = client.program("pip");
            output(Command::new(pip).args(["install", "--quiet", PACKAGE]))?;
        }
        Ok(client)
    }

    /// A program of its own that checks what it gets, and says so in lines.
    fn library(&self) -> Result<Count> {
        let vmm = Vmm::start()?;
        let script = cargo::workspace().join("ci/xtask/qmp/library.py");
        let mut command = Command::new(self.program("python"));
        let said = command.arg(script).arg(vmm.monitor()).output()?;
        let mut count = Count::default();
        for said in String::from_utf8_lossy(&said.stdout).lines() {
            line(format_args!("  {said}"));
            count.add(Count::one(said.starts_with("pass ")));
        }
        let errors = String::from_utf8_lossy(&said.stderr);
        ensure!(count.passed + count.failed >= LEAST, "{errors}");
        ensure!(said.status.success() == (count.failed == 0), "{errors}");
        Ok(count)
    }

    /// The interactive shell, with lines typed into it.
    fn shell(&self) -> Result<Count> {
        let vmm = Vmm::start()?;
        let mut command = Command::new(self.program("qmp-shell"));
        command.arg(vmm.monitor());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shell = command.spawn()?;
        let mut typed = shell.stdin.take().context("a pipe")?;
        for (words, _) in TYPED {
            writeln!(typed, "{words}")?;
        }
        drop(typed);
        let said = shell.wait_with_output()?;
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let mut rest = said.as_str();
        for (words, answer) in TYPED {
            let found = rest.split_once(answer);
            (_, rest) = found.with_context(|| format!("{words}: no {answer} in\n{said}"))?;
            line(format_args!("  pass {words}"));
        }
        Ok(Count {
            passed: TYPED.len(),
            failed: 0,
        })
    }

    fn program(&self, name: &str) -> PathBuf {
        self.environment.join("bin").join(name)
    }
}

/// A machine whose monitor listens; ended when dropped.
struct Vmm {
    child: Child,
    directory: tempfile::TempDir,
}

impl Vmm {
    fn start() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let socket = |name: &str| {
            let path = directory.path().join(name);
            format!("unix:{},server=on,wait=off", path.display())
        };
        let child = Command::new(cargo::target()?.join("debug/mini-vmm"))
            .args(["-M", "pc", "-accel", "qtest", "-qtest", &socket("qtest")])
            .args(["-qmp", &socket("qmp")])
            .spawn()?;
        let vmm = Self { child, directory };
        let deadline = Instant::now() + START;
        while UnixStream::connect(vmm.monitor()).is_err() {
            ensure!(Instant::now() < deadline, "the monitor does not listen");
            sleep(Duration::from_millis(10));
        }
        Ok(vmm)
    }

    fn monitor(&self) -> PathBuf {
        self.directory.path().join("qmp")
    }
}

impl Drop for Vmm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(self.monitor());
    }
}

const PACKAGE: &str = "qemu.qmp==0.0.6";
/// Checks of the library's program.
const LEAST: usize = 7;
const START: Duration = Duration::from_secs(20);
/// What is typed into the shell, and what it shows for it.
const TYPED: [(&str, &str); 6] = [
    (
        "query-status",
        r#"{"return": {"running": true, "status": "running"}}"#,
    ),
    (
        "object-add qom-type=rng-builtin id=typed",
        r#"{"return": {}}"#,
    ),
    ("qom-list path=/objects", r#""name": "typed""#),
    ("object-del id=typed", r#"{"return": {}}"#),
    ("device_del id=none", r#""class": "DeviceNotFound""#),
    ("no-such-command", r#""class": "CommandNotFound""#),
];
