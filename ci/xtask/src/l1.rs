//! L1: a whole emulated machine in which KVM works, for hosts whose own KVM cannot run stock
//! guests or is absent.
//!
//! QEMU's TCG emulates AMD's SVM, so a Debian kernel in it has a full `/dev/kvm`. L1 needs no disk:
//! its root is the host's file system over 9p, read-only, under a tmpfs that takes the writes.
//! So every program of the host, and what was just built, runs in L1 under its usual path.
//! One directory of the host is shared writable; results go there. `/run/direct` is a block device
//! of 16 MiB, because tmpfs takes no direct I/O; others can be made by way of configfs. Several of these
//! machines may run at the same time, each at a *place*, a number.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, exit};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::console::{coloured, line};
use crate::cpio::Archive;
use crate::debian::{Debian, Program};
use crate::guest::scenario::SILENCE as SILENCE_IN_GUEST;
use crate::kernel::Kernel;
use crate::process::{Process, Silence};
use crate::pulse::Pulses;

/// A description of L1, ready to be booted any number of times.
#[derive(Debug)]
pub struct L1 {
    qemu: Program,
    kernel: PathBuf,
    initramfs: PathBuf,
    share: PathBuf,
    processors: u32,
}

impl L1 {
    /// What guests of L1 should take for their CPU. The one that TCG emulates is of AMD's family 15,
    /// where a kernel searches 256 PCI buses for a GART, and has an XSAVE area that newer kernels
    /// refuse.
    pub const GUEST_CPU: &str = "host,family=23,-xsave";

    /// Prepares L1 with `share` as its writable directory.
    pub fn new(debian: &Debian, share: &Path) -> Result<Self> {
        let (kernel, qemu) = (debian.kernel()?, debian.program("qemu-system-x86_64")?);
        fs::create_dir_all(share)?;
        let initramfs = share.join("l1-initramfs.cpio");
        fs::write(
            &initramfs,
            build_initramfs(&kernel, &debian.program("busybox")?)?,
        )?;
        Ok(Self {
            qemu,
            kernel: kernel.image,
            initramfs,
            share: share.to_owned(),
            processors: 1,
        })
    }

    /// Gives it so many processors, in place of one. Several are slower unless there is work for all of
    /// them: they wait for each other, and so do those of guests, which then lose more by the emulation.
    pub fn processors(&mut self, processors: u32) {
        self.processors = processors;
    }

    /// Boots L1 at `place`, runs `command` in it, feeds each line that it prints to `each`, and powers
    /// off. Returns the command's exit status.
    ///
    /// Where L1 itself goes down before that, one of its processors or the command is not heard of any
    /// more, or the command [gives up](give_up), it is booted again, and that is said: now and then a
    /// processor of L1 stops for good inside its KVM, whichever VMM runs there. No program in L1 can do
    /// that to it, so there is an end to these times.
    pub fn run(
        &self,
        place: u32,
        command: &[OsString],
        limit: Duration,
        mut each: impl FnMut(&str),
    ) -> Result<i32> {
        let deadline = Instant::now() + limit;
        for _ in 0..ATTEMPTS {
            match self.attempt(place, command, deadline, &mut each)? {
                Ok(status) => return Ok(status),
                Err(end) => line(format_args!("the emulated machine {end}; once more")),
            }
        }
        bail!("L1 ended {ATTEMPTS} times before its command did; see the lines above")
    }

    /// The command's exit status, or what happened to L1 before the command ended.
    fn attempt(
        &self,
        place: u32,
        command: &[OsString],
        deadline: Instant,
        each: &mut impl FnMut(&str),
    ) -> Result<Result<i32, String>> {
        let file = |name: &str| self.share.join(format!("{name}.{place}"));
        let status = file("status");
        let _ = fs::remove_file(&status);
        fs::write(file("command"), script(command)?)?;
        let qemu = Process::spawn(&self.qemu_command(place))?;
        let ended = listen(qemu, Pulses::new(PULSELESS), deadline, each)?;
        let status = fs::read_to_string(&status).ok();
        let status = status.map(|text| text.trim().parse::<i32>());
        match (status.transpose().context("L1's exit status")?, ended) {
            (Some(GIVEN_UP), _) => Ok(Err("was given up".to_owned())),
            (Some(status), _) => Ok(Ok(status)),
            (None, Ok(ended)) => Ok(Err(format!("went down ({ended})"))),
            (None, Err(silence)) => {
                let processes = last_processes(&file("processes"));
                Ok(Err(format!("{silence} ({processes})")))
            }
        }
    }

    fn qemu_command(&self, place: u32) -> Command {
        let mut qemu = self.qemu.command();
        // A word that the kernel does not know is in the environment of init.
        let command_line = format!("{COMMAND_LINE} place={place}");
        qemu.args(MACHINE).arg("-append").arg(command_line);
        qemu.arg("-smp").arg(self.processors.to_string());
        qemu.arg("-kernel")
            .arg(&self.kernel)
            .arg("-initrd")
            .arg(&self.initramfs);
        qemu.args([
            "-virtfs",
            "local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap",
        ]);
        let share = self.share.display().to_string().replace(',', ",,");
        qemu.arg("-virtfs").arg(format!(
            "local,path={share},mount_tag=share,security_model=none"
        ));
        qemu
    }
}

/// Ends this process, which runs in L1, because of what is wrong with L1, which is then booted again.
pub fn give_up(reason: &str) -> ! {
    line(format_args!("{reason}: the emulated machine is given up"));
    exit(GIVEN_UP)
}

/// Feeds what L1 prints to `each` until it ends or falls silent; which, and how.
fn listen(
    mut qemu: Process,
    mut pulses: Pulses,
    deadline: Instant,
    each: &mut impl FnMut(&str),
) -> Result<Result<ExitStatus, String>> {
    let mut spoken = Instant::now();
    loop {
        let silent = spoken + SILENCE;
        let next = pulses.due().map_or(silent, |due| due.min(silent));
        match qemu.line(next.min(deadline)) {
            Ok(line) if pulses.hear(&line) || line.ends_with(LAST_WORDS) => {}
            Ok(line) => {
                spoken = Instant::now();
                each(&line);
            }
            Err(Silence::Ended) => return qemu.wait(deadline).map(Ok),
            Err(Silence::TimedOut) if Instant::now() >= deadline => {
                bail!("the emulated machine took too long and was killed")
            }
            Err(Silence::TimedOut) => return Ok(Err(silence(&pulses))),
        }
    }
}

/// The last that L1 wrote of its processes, which shows whether its kernel still ran.
fn last_processes(file: &Path) -> String {
    let age = fs::metadata(file)
        .and_then(|data| data.modified())
        .map(|time| time.elapsed().unwrap_or_default().as_secs());
    let age = age.map_or_else(|error| error.to_string(), |age| format!("{age} s ago"));
    let list = fs::read_to_string(file).unwrap_or_default();
    format!("its processes, {age}:\n{list}")
}

fn silence(pulses: &Pulses) -> String {
    match pulses.lost() {
        Some(processor) => format!("lost its processor {processor}"),
        None => format!("was silent for {} s", SILENCE.as_secs()),
    }
}

fn build_initramfs(kernel: &Kernel, busybox: &Program) -> Result<Vec<u8>> {
    let mut archive = Archive::new();
    archive
        .directory("bin")
        .directory("modules")
        .file("bin/busybox", &fs::read(&busybox.path)?);
    archive
        .link("bin/sh", "busybox")
        .file("init", INIT.as_bytes())
        .file("run.sh", RUN.as_bytes());
    let mut order = String::new();
    for module in kernel.load_order(MODULES)? {
        order.push_str(&format!("{}\n", module.name));
        archive.file(&format!("modules/{}.ko", module.name), &module.object);
    }
    archive.file("modules/order", order.as_bytes());
    Ok(archive.finish())
}

/// The command as a shell line. Our serial line is a terminal to it, whatever ours is.
fn script(command: &[OsString]) -> Result<String> {
    let words = command
        .iter()
        .map(|word| word.to_str().map(quoted).context("a path is not UTF-8"));
    let colour = if coloured() {
        "FORCE_COLOR=1"
    } else {
        "NO_COLOR=1"
    };
    Ok(format!(
        "{colour} {}\n",
        words.collect::<Result<Vec<_>>>()?.join(" ")
    ))
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

const INIT: &str = include_str!("../guest/l1-init.sh");
const RUN: &str = include_str!("../guest/l1-run.sh");
const MACHINE: &[&str] = &[
    "-accel",
    "tcg,thread=multi",
    "-cpu",
    CPU,
    "-M",
    "q35",
    "-m",
    "3072",
    "-nodefaults",
    "-no-reboot",
    "-display",
    "none",
    "-serial",
    "stdio",
];
/// Where copying by bytes is said to be fast a kernel does so, which TCG does a byte at a time.
const CPU: &str = "max,-erms,-fsrm";
/// Only the job may print; a panic ends the machine, and a processor that is stuck, or that others have
/// waited for in vain, is one. Mitigations cost much under TCG. Its processors' counters are the host's,
/// which are in step, but nothing says so, and without them each look at the clock leaves L1.
const COMMAND_LINE: &str = "console=ttyS0 quiet loglevel=1 panic=-1 softlockup_panic=1 \
     rcupdate.rcu_cpu_stall_timeout=60 sysctl.kernel.panic_on_rcu_stall=1 mitigations=off no5lvl \
     tsc=reliable";
/// How often it is booted, at most.
const ATTEMPTS: u32 = 5;
/// The exit status of a command that gave L1 up; `guest/l1-run.sh` knows it, too.
const GIVEN_UP: i32 = 75;
/// How long a processor may give no sign of life: nine times as long as it does.
const PULSELESS: Duration = Duration::from_secs(90);
/// Longer than the command may be silent.
const SILENCE: Duration = Duration::from_secs(SILENCE_IN_GUEST.as_secs() + 120);
/// Printed by the kernel at power-off, whatever the log level.
const LAST_WORDS: &str = "reboot: Power down";
const MODULES: &[&str] = &[
    "virtio_pci",
    "9pnet_virtio",
    "9p",
    "overlay",
    "kvm_amd",
    "loop",
    "null_blk",
    "crc32c_generic",
    "ext4",
    "tun",
    "8021q",
];

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::{Duration, Instant};

    use super::{listen, script};
    use crate::process::Process;
    use crate::pulse::Pulses;

    #[test]
    fn l1_that_loses_a_processor_is_not_waited_for() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo '@@ alive 1'; echo one; sleep 60"]);
        let (start, mut lines) = (Instant::now(), Vec::new());
        let ended = listen(
            Process::spawn(&command).unwrap(),
            Pulses::new(Duration::from_secs(1)),
            start + Duration::from_secs(3600),
            &mut |line: &str| lines.push(line.to_owned()),
        );
        assert_eq!(ended.unwrap().unwrap_err(), "lost its processor 1");
        assert_eq!(lines, ["one"]);
    }

    #[test]
    fn l1_command_survives_the_shell() {
        let line = script(&["echo".into(), "it's $HOME".into()]).unwrap();
        assert!(line.ends_with(" 'echo' 'it'\\''s $HOME'\n"), "{line}");
    }
}
