//! Where guests run: on this machine if its KVM can run stock kernels, else one level down in L1.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::{available_parallelism, scope};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

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

    /// Gives an emulated machine so many processors, in place of one.
    pub fn processors(&mut self, processors: u32) {
        self.l1.iter_mut().for_each(|l1| l1.processors(processors));
    }

    /// The CPU model that suits guests there, as `-cpu` has it.
    pub fn cpu(&self) -> &'static str {
        if self.l1.is_some() {
            L1::GUEST_CPU
        } else {
            "host"
        }
    }

    /// How many runs are possible at the same time: as many as there are processors, but no more than
    /// there are to do without getting in each other's way. Guests of this machine's own KVM would share
    /// its networks.
    pub fn places(&self) -> u32 {
        let processors = available_parallelism().map_or(1, |number| number.get() as u32);
        if self.l1.is_some() {
            processors.min(PLACES)
        } else {
            1
        }
    }

    /// Runs `xtask within <arguments>` there and prints what it prints, line by line.
    /// Returns its exit status; after `limit` it is killed and that is an error.
    pub fn run(&self, arguments: &[&str], limit: Duration) -> Result<i32> {
        let _progress = Progress::start("guests at work");
        self.run_at(1, "|", arguments, limit)
    }

    /// The same, so many times at once, each told its place, from 1 on, by `--place`. Returns the worst
    /// exit status.
    pub fn run_in(&self, places: u32, arguments: &[&str], limit: Duration) -> Result<i32> {
        let _progress = Progress::start("guests at work");
        scope(|scope| {
            let run = |place: u32| {
                let number = place.to_string();
                let arguments = [&["--place", &number], arguments].concat();
                self.run_at(place, &format!("{place}|"), &arguments, limit)
            };
            let runs: Vec<_> = (1..=places)
                .map(|place| scope.spawn(move || run(place)))
                .collect();
            runs.into_iter().try_fold(0, |worst, run| {
                let status = run.join().unwrap_or_else(|_| Err(anyhow!("it crashed")));
                Ok(i32::max(worst, status?))
            })
        })
    }

    fn run_at(&self, place: u32, mark: &str, arguments: &[&str], limit: Duration) -> Result<i32> {
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
        let print = |text: &str| line(format_args!("{} {text}", Paint::Faint.on(mark)));
        match &self.l1 {
            Some(l1) => l1.run(place, &command, limit, print),
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
/// At most.
const PLACES: u32 = 2;
