//! The root file system is a directory of the host, over virtio-9p: Debian programs unpack, commit,
//! copy and verify on it. Other shares are on other transports, rings and security models.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::cargo;
use crate::debian::Debian;
use crate::guest::image::copy_program;
use crate::guest::machine::Machine;
use crate::guest::scenario::{BOOT, Play, SILENCE, Scenario};
use crate::guest::session::{Guest, Report};
use crate::guest::verdict::Verdict;
use crate::process::output;

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "share",
    equip,
    play: Play::Alone(play),
};

/// A file system of its own, because L1's keeps no extended attributes: the guest's image, mounted.
fn equip(machine: &mut Machine) -> Result<()> {
    let root = machine.file("share");
    mount(&machine.file("root"), &machine.file("share.ext4"), &root)?;
    let debian = Debian::new(&cargo::target()?);
    for name in PROGRAMS {
        copy_program(&debian.program(name)?, &root)?;
    }
    fs::copy(package(&cargo::target()?)?, root.join("package.deb"))?;
    let many = root.join("many");
    fs::create_dir(&many)?;
    for number in 0..MANY {
        File::create(many.join(format!("file-{number:04}")))?;
    }
    share(machine, "share", "mapped-xattr");
    machine.device("virtio-9p-pci,fsdev=share,mount_tag=root");
    machine.parameter("root9p=root");
    let shares = [
        (
            "packed",
            "virtio-9p-pci-non-transitional,packed=on",
            "mapped-file",
        ),
        ("mmio", "virtio-9p-device", "passthrough"),
        ("transitional", "virtio-9p-pci-transitional", "none"),
    ];
    for (tag, device, model) in shares {
        fs::create_dir(machine.file(tag))?;
        share(machine, tag, model);
        machine.device(&format!("{device},fsdev={tag},mount_tag={tag}"));
    }
    let read = machine.file("read");
    fs::create_dir(&read)?;
    fs::write(read.join("file"), "from the host")?;
    let read = read.display();
    machine.option(
        "-virtfs",
        &format!("local,path={read},mount_tag=read,security_model=none,readonly=on"),
    );
    Ok(())
}

fn share(machine: &mut Machine, id: &str, model: &str) {
    let path = machine.file(id).display().to_string();
    let options = format!("local,id={id},path={path},security_model={model},multidevs=remap");
    machine.option("-fsdev", &options);
}

fn play(guest: &mut Guest, machine: &Machine) -> Result<Vec<Verdict>> {
    let mounted = Mounted(machine.file("share"));
    guest.ready(BOOT)?;
    let mut verdicts = Vec::new();
    loop {
        match guest.report(SILENCE)? {
            Report::Verdict(verdict) => verdicts.push(verdict),
            Report::Done => break,
            Report::Ended => bail!("{}", guest.early_end()),
            _ => {}
        }
    }
    ensure!(
        verdicts.len() == CHECKS,
        "{} of {CHECKS} checks",
        verdicts.len()
    );
    verdicts.push(Verdict::of("share-host", look(&mounted.0)));
    Ok(verdicts)
}

/// What the guest has left on the host.
fn look(root: &Path) -> Result<String> {
    let word = fs::read_to_string(root.join("data/word"))?;
    ensure!(word == "from the guest\n", "the host reads {word:?}");
    let link = fs::symlink_metadata(root.join("data/there/below/link"))?;
    ensure!(
        link.is_file(),
        "a link of the guest's is a link of the host's"
    );
    let fifo = fs::symlink_metadata(root.join("data/there/below/fifo"))?;
    ensure!(fifo.is_file(), "a FIFO of the guest's is one of the host's");
    Ok("files that mean nothing to the host".to_owned())
}

/// A copy of `image`, mounted at `place`.
fn mount(image: &Path, copy: &Path, place: &Path) -> Result<()> {
    output(
        Command::new("cp")
            .arg("--sparse=always")
            .arg(image)
            .arg(copy),
    )?;
    fs::create_dir(place)?;
    output(
        Command::new("mount")
            .args(["-o", "loop"])
            .arg(copy)
            .arg(place),
    )?;
    Ok(())
}

/// What is mounted there until it is dropped.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A package that is here anyway, of a size that the guest unpacks in seconds.
fn package(target: &Path) -> Result<PathBuf> {
    let archives = fs::read_dir(target.join("debian/archives"))?;
    let mut found = Vec::new();
    for entry in archives {
        let entry = entry?;
        let size = entry.metadata()?.len();
        if entry.path().extension().is_some_and(|end| end == "deb") && size < PACKAGE_MAX {
            found.push((size, entry.path()));
        }
    }
    let largest = found.into_iter().max().context("no package to unpack")?;
    Ok(largest.1)
}

/// Programs that this guest has besides those of every guest.
pub const PROGRAMS: &[&str] = &["git", "rsync", "setfattr", "getfattr"];
/// As many as `guest/share.sh` makes.
const CHECKS: usize = 11;
/// Files in one directory.
const MANY: u32 = 2_000;
const PACKAGE_MAX: u64 = 1 << 20;
