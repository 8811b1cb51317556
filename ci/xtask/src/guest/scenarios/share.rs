//! The root file system is a directory of the host, over virtio-9p: Debian programs unpack and commit
//! on it, and copy, lock, stress and verify on a share that the guest does not cache. Other shares are on
//! other transports, rings and security models.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::cargo;
use crate::debian::Debian;
use crate::guest::image::copy_program;
use crate::guest::machine::Machine;
use crate::guest::scenario::{BOOT, Mounted, Play, Scenario};
use crate::guest::session::Guest;
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
    machine.spare_processors();
    let (root, scale) = (machine.file("share"), Scale::of(machine));
    mount(&machine.file("root"), &machine.file("share.ext4"), &root)?;
    furnish(&root, &scale)?;
    for (tag, directory) in [("root", &root), ("data", &root.join("data"))] {
        share(machine, tag, directory, "mapped-xattr");
        machine.device(&format!("virtio-9p-pci,fsdev={tag},mount_tag={tag}"));
    }
    let Scale {
        stress, stressors, ..
    } = scale;
    machine.parameter(&format!(
        "root9p=root stress={stress}s stressors={stressors}"
    ));
    for (tag, device, model) in OTHERS {
        let directory = machine.file(tag);
        fs::create_dir(&directory)?;
        share(machine, tag, &directory, model);
        machine.device(&format!("{device},fsdev={tag},mount_tag={tag}"));
    }
    equip_read_only(machine)
}

/// Programs, a package and files by the thousand.
fn furnish(root: &Path, scale: &Scale) -> Result<()> {
    let target = cargo::target()?;
    let debian = Debian::new(&target);
    for name in PROGRAMS {
        copy_program(&debian.program(name)?, root)?;
    }
    fs::copy(package(&target, scale.package)?, root.join("package.deb"))?;
    for name in ["work", "data", "data/many"] {
        fs::create_dir(root.join(name))?;
    }
    for number in 0..MANY {
        File::create(root.join(format!("data/many/file-{number:04}")))?;
    }
    Ok(())
}

fn equip_read_only(machine: &mut Machine) -> Result<()> {
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

fn share(machine: &mut Machine, id: &str, directory: &Path, model: &str) {
    let path = directory.display();
    let options = format!("local,id={id},path={path},security_model={model},multidevs=remap");
    machine.option("-fsdev", &options);
}

fn play(guest: &mut Guest, machine: &Machine) -> Result<Vec<Verdict>> {
    let mounted = Mounted(machine.file("share"));
    guest.ready(BOOT)?;
    let (mut verdicts, done) = guest.verdicts()?;
    ensure!(done, "{}", guest.early_end());
    ensure!(
        verdicts.len() == CHECKS,
        "{} of {CHECKS} checks",
        verdicts.len()
    );
    verdicts.push(Verdict::of("share-host", look(&mounted.0)));
    Ok(verdicts)
}

/// How much there is to do.
struct Scale {
    /// Seconds that the stressors work.
    stress: u32,
    /// Those of stress-ng, by commas.
    stressors: &'static str,
    /// Bytes of the package that is unpacked, at most.
    package: u64,
}

impl Scale {
    fn of(machine: &Machine) -> Self {
        match machine.full {
            true => Self {
                stress: 10,
                stressors: "hdd,dir,link,rename",
                package: 1 << 20,
            },
            false => Self {
                stress: 2,
                stressors: "hdd,dir,rename",
                package: 512 << 10,
            },
        }
    }
}

/// What the guest has left on the host.
fn look(root: &Path) -> Result<String> {
    let word = fs::read_to_string(root.join("data/word"))?;
    ensure!(word == "from the guest\n", "the host reads {word:?}");
    let script = fs::read(root.join("work/repository/scenarios/share.sh"))?;
    ensure!(
        script == fs::read(root.join("scenarios/share.sh"))?,
        "what the guest has committed differs"
    );
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

/// The largest package of fewer than `most` bytes that is here anyway.
fn package(target: &Path, most: u64) -> Result<PathBuf> {
    let archives = fs::read_dir(target.join("debian/archives"))?;
    let mut found = Vec::new();
    for entry in archives {
        let entry = entry?;
        let size = entry.metadata()?.len();
        if entry.path().extension().is_some_and(|end| end == "deb") && size < most {
            found.push((size, entry.path()));
        }
    }
    let largest = found.into_iter().max().context("no package to unpack")?;
    Ok(largest.1)
}

/// Programs that this guest has besides those of every guest.
pub const PROGRAMS: &[&str] = &["flock", "getfattr", "git", "rsync", "setfattr", "stress-ng"];
/// As many as `guest/share.sh` makes.
const CHECKS: usize = 14;
/// Files in one directory.
const MANY: u32 = 10_000;
/// Tag, device and security model of shares on other transports and rings.
const OTHERS: [(&str, &str, &str); 3] = [
    (
        "packed",
        "virtio-9p-pci-non-transitional,packed=on",
        "mapped-file",
    ),
    ("mmio", "virtio-9p-device", "passthrough"),
    ("transitional", "virtio-9p-pci-transitional", "none"),
];
