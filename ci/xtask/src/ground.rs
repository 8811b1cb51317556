//! Where guests run: on this machine if its KVM can run stock kernels, else one level down in L1.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::console::{Paint, Progress, line};
use crate::debian::Debian;
use crate::l1::L1;
use crate::process::Process;

/// The place for guests, with one directory to which results go.
#[derive(Debug)]
pub struct Ground {
    l1: Option<L1>,
    share: PathBuf,
    xtask: PathBuf,
}

impl Ground {
    /// Finds out what this machine can do and says so in one line. Results go to `guests/share`,
    /// which is emptied.
    pub fn choose(debian: &Debian, guests: &Path) -> Result<Self> {
        let share = guests.join("share");
        let _ = fs::remove_dir_all(&share);
        fs::create_dir_all(&share)?;
        let obstacle = obstacle();
        line(match &obstacle {
            None => "guests run on this machine's /dev/kvm".to_owned(),
            Some(reason) => {
                format!("guests run one level down, in a machine emulated by QEMU: {reason}")
            }
        });
        let l1 = obstacle.map(|_| L1::new(debian, &share)).transpose()?;
        Ok(Self {
            l1,
            share,
            xtask: copy_of_this_program(guests)?,
        })
    }

    /// Prepares it for measurements of time.
    pub fn trust_counters(&mut self) {
        self.l1.iter_mut().for_each(L1::trust_counters);
    }

    /// The CPU model that suits guests there, as `-cpu` has it.
    pub fn cpu(&self) -> &'static str {
        if self.l1.is_some() {
            L1::GUEST_CPU
        } else {
            "host"
        }
    }

    /// Runs `xtask within <arguments>` there and prints what it prints, line by line.
    /// Returns its exit status; after `limit` it is killed and that is an error.
    pub fn run(&self, arguments: &[&str], limit: Duration) -> Result<i32> {
        let share = if self.l1.is_some() {
            Path::new(SHARE_IN_L1)
        } else {
            &self.share
        };
        let words = ["within", "--share"].into_iter().map(OsString::from);
        let command: Vec<OsString> = std::iter::once(self.xtask.clone().into_os_string())
            .chain(words)
            .chain([share.as_os_str().to_owned()])
            .chain(arguments.iter().map(OsString::from))
            .collect();
        let _progress = Progress::start("guests at work");
        let print = |text: &str| line(format_args!("{} {text}", Paint::Faint.on("|")));
        match &self.l1 {
            Some(l1) => l1.run(&command, limit, print),
            None => run_here(&command, limit, print),
        }
    }

    /// Puts a file called `name` into the share.
    pub fn hand_over(&self, name: &str, text: &str) -> Result<()> {
        fs::write(self.share.join(name), text).with_context(|| name.to_owned())
    }

    /// What was left in the share under `name`.
    pub fn result(&self, name: &str) -> Result<String> {
        fs::read_to_string(self.share.join(name))
            .with_context(|| format!("the guests left no file {name}"))
    }
}

/// Why guests cannot run here, or `None` if they can.
fn obstacle() -> Option<String> {
    if let Err(error) = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/kvm")
    {
        return Some(format!("/dev/kvm: {error}"));
    }
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let virtualizes = processor
        .split_whitespace()
        .any(|flag| matches!(flag, "vmx" | "svm"));
    (!virtualizes).then(|| {
        "the processor shows neither vmx nor svm, so /dev/kvm is a software one".to_owned()
    })
}

fn run_here(command: &[OsString], limit: Duration, each: impl FnMut(&str)) -> Result<i32> {
    let mut child = Command::new(&command[0]);
    child.args(&command[1..]);
    let status = Process::spawn(&child)?.drain(Instant::now() + limit, each)?;
    status
        .code()
        .with_context(|| format!("xtask within: {status}"))
}

/// Builds replace the original, whose name may lead nowhere by now.
fn copy_of_this_program(guests: &Path) -> Result<PathBuf> {
    let copy = guests.join("xtask");
    // A new file: the old one may be running, one level down, on a slow machine.
    let _ = fs::remove_file(&copy);
    fs::copy("/proc/self/exe", &copy).context("copying this program")?;
    Ok(copy)
}

const SHARE_IN_L1: &str = "/run/share";
