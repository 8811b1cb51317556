//! L1: a whole emulated machine in which KVM works, for hosts whose own KVM cannot run stock
//! guests or is absent.
//!
//! QEMU's TCG emulates AMD's SVM, so a Debian kernel in it has a full `/dev/kvm`. L1 needs no disk:
//! its root is the host's file system over 9p, read-only, under a tmpfs that takes the writes.
//! So every program of the host, and what was just built, runs in L1 under its usual path.
//! One directory of the host is shared writable; results go there. `/run/direct` is a block device
//! of 16 MiB, because tmpfs takes no direct I/O.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::console::{coloured, line};
use crate::cpio::Archive;
use crate::debian::{Debian, Program};
use crate::guest::scenario::SILENCE as SILENCE_IN_GUEST;
use crate::kernel::Kernel;
use crate::process::Process;

/// A description of L1, ready to be booted any number of times.
#[derive(Debug)]
pub struct L1 {
    qemu: Program,
    kernel: PathBuf,
    initramfs: PathBuf,
    share: PathBuf,
    /// What its kernel is told beyond the usual.
    more: &'static str,
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
            more: "",
        })
    }

    /// Has it take the time from its processors' counters, for measurements. Under TCG they are the
    /// host's, which are in step, but nothing says so, and without them each look at the clock
    /// leaves L1.
    pub fn trust_counters(&mut self) {
        self.more = " tsc=reliable";
    }

    /// Boots L1, runs `command` in it, feeds each line that it prints to `each`, and powers off.
    /// Returns the command's exit status.
    ///
    /// Where L1 itself goes down before that, or nothing is heard of it any more, it is booted again,
    /// and that is said: now and then a processor of L1 stops for good inside its KVM, whichever VMM
    /// runs there. No program in L1 can do that to it, so there is an end to these times.
    pub fn run(
        &self,
        command: &[OsString],
        limit: Duration,
        mut each: impl FnMut(&str),
    ) -> Result<i32> {
        let deadline = Instant::now() + limit;
        for _ in 0..ATTEMPTS {
            match self.attempt(command, deadline, &mut each)? {
                Ok(status) => return Ok(status),
                Err(end) => line(format_args!("the emulated machine {end}; once more")),
            }
        }
        bail!("L1 ended {ATTEMPTS} times before its command did; see the lines above")
    }

    /// The command's exit status, or what happened to L1 before the command ended.
    fn attempt(
        &self,
        command: &[OsString],
        deadline: Instant,
        each: &mut impl FnMut(&str),
    ) -> Result<Result<i32, String>> {
        let status = self.share.join("status");
        let _ = fs::remove_file(&status);
        fs::write(self.share.join("command"), script(command)?)?;
        let qemu = Process::spawn(&self.qemu_command())?;
        let ended = qemu.drain_while_it_speaks(deadline, SILENCE, |line| {
            if !line.ends_with(LAST_WORDS) {
                each(line);
            }
        })?;
        match (fs::read_to_string(&status), ended) {
            (Ok(text), _) => text
                .trim()
                .parse()
                .map(Ok)
                .context("L1 left no exit status"),
            (Err(_), Some(ended)) => Ok(Err(format!("went down ({ended})"))),
            (Err(_), None) => Ok(Err(self.silence())),
        }
    }

    /// With the last that it wrote of its processes, which shows whether its kernel still ran.
    fn silence(&self) -> String {
        let processes = self.share.join("processes");
        let age = fs::metadata(&processes)
            .and_then(|data| data.modified())
            .map(|time| time.elapsed().unwrap_or_default().as_secs());
        let age = age.map_or_else(|error| error.to_string(), |age| format!("{age} s ago"));
        let list = fs::read_to_string(&processes).unwrap_or_default();
        let silence = SILENCE.as_secs();
        format!("was silent for {silence} s (its processes, {age}:\n{list})")
    }

    fn qemu_command(&self) -> Command {
        let mut qemu = self.qemu.command();
        let command_line = format!("{COMMAND_LINE}{}", self.more);
        qemu.args(MACHINE).arg("-append").arg(command_line);
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
    "max",
    "-smp",
    "2",
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
/// Only the job may print; a panic ends the machine, and a processor that is stuck is one.
/// Mitigations cost much under TCG.
const COMMAND_LINE: &str = "console=ttyS0 quiet loglevel=1 panic=-1 softlockup_panic=1 \
     mitigations=off no5lvl";
/// How often it is booted, at most.
const ATTEMPTS: u32 = 3;
/// Longer than anything in it may be silent.
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
    "crc32c_generic",
    "ext4",
    "tun",
    "8021q",
];

#[cfg(test)]
mod tests {
    use super::script;

    #[test]
    fn l1_command_survives_the_shell() {
        let line = script(&["echo".into(), "it's $HOME".into()]).unwrap();
        assert!(line.ends_with(" 'echo' 'it'\\''s $HOME'\n"), "{line}");
    }
}
