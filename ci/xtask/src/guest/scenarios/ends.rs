//! Host ends of every kind, inside the sandbox, which would name and end whatever it forgot: direct
//! I/O, discards, files, pseudo-terminals, a socket that nobody reads. At last SIGTERM in the middle
//! of writes: the VMM ends in order, and every acknowledged record is in the image.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::OFlags;

use crate::guest::machine::Machine;
use crate::guest::scenario::{BOOT, Play, SILENCE, Scenario, direct_disk, find_records};
use crate::guest::session::{Guest, Report};
use crate::guest::verdict::Verdict;
use crate::socket;

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "ends",
    equip,
    play: Play::Alone(play),
};

fn equip(machine: &mut Machine) -> Result<()> {
    machine.spare_processors();
    machine.parameter("nokaslr");
    for name in ["through", "readonly"] {
        File::create(machine.file(name))?.set_len(SIZE)?;
    }
    machine.drive(
        "virtio-blk-pci",
        "direct",
        &direct_disk(machine, "direct")?,
        "cache=none,discard=unmap,",
    );
    for (name, how) in [
        ("through", "cache=writethrough,"),
        ("readonly", "readonly=on,"),
    ] {
        machine.drive("virtio-blk-pci", name, &machine.file(name), how);
    }
    machine.option("-object", "rng-random,id=random,filename=/dev/urandom");
    machine.device("virtio-rng-pci,rng=random");
    machine.device("virtio-serial-pci,id=ports");
    machine.socket("console");
    machine.device("virtconsole,chardev=console,bus=ports.0");
    let file = machine.file("port-file").display().to_string();
    for (name, chardev) in [
        ("file", format!("file,id=file,path={file}")),
        ("null", "null,id=null".to_owned()),
        ("pty", "pty,id=pty".to_owned()),
    ] {
        machine.option("-chardev", &chardev);
        machine.device(&format!(
            "virtserialport,chardev={name},name=org.example.{name}"
        ));
    }
    Ok(())
}

fn play(guest: &mut Guest, machine: &Machine) -> Result<Vec<Verdict>> {
    guest.ready(BOOT)?;
    let disk = direct_disk(machine, "direct")?;
    let opened = opened_directly(guest.process(), &disk);
    let mut verdicts = vec![Verdict::of("ends-o-direct", opened)];
    let silent = socket::connect(&machine.file("console"))?;
    let mut last = 0;
    while last < ENOUGH_RECORDS {
        match guest.report(SILENCE)? {
            Report::Verdict(verdict) => verdicts.push(verdict),
            Report::Acknowledged(record) => last = record,
            other => bail!("expected records, got {other:?}; {}", guest.last_words()),
        }
    }
    drop(silent);
    let last = guest.terminate(last)?;
    let left = ["console"]
        .into_iter()
        .find(|name| machine.file(name).exists());
    verdicts.extend([
        Verdict::of("ends-records", find_records(&disk, "ends", last)),
        Verdict::of("ends-file", check_file(&machine.file("port-file"))),
        Verdict::of(
            "ends-sigterm",
            match left {
                None => Ok("ended in order, with nothing left behind".to_owned()),
                Some(name) => Err(anyhow::anyhow!("the socket {name} is left behind")),
            },
        ),
    ]);
    Ok(verdicts)
}

/// Whether the VMM has `disk` open, and past the page cache wherever it has.
fn opened_directly(vmm: u32, disk: &Path) -> Result<String> {
    let (disk, mut count) = (disk.canonicalize()?, 0);
    for entry in fs::read_dir(format!("/proc/{vmm}/fd"))? {
        let entry = entry?;
        if fs::read_link(entry.path()).is_ok_and(|file| file == disk) {
            let name = entry.file_name();
            let info = fs::read_to_string(Path::new(&format!("/proc/{vmm}/fdinfo")).join(name))?;
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
            let flags = flags.context("a descriptor without flags")?.trim();
            let flags = u32::from_str_radix(flags, 8)?;
            let direct = flags & OFlags::DIRECT.bits() != 0;
            ensure!(direct, "open with flags {flags:#o}, without O_DIRECT");
            count += 1;
        }
    }
    ensure!(count > 0, "the VMM has no {} open", disk.display());
    Ok(format!("{} is open with O_DIRECT", disk.display()))
}

fn check_file(path: &Path) -> Result<String> {
    let text = fs::read_to_string(path)?;
    ensure!(text.trim_end() == "hello file", "the file has {text:?}");
    Ok("the file has what the port was told".to_owned())
}

const SIZE: u64 = 16 << 20;
const ENOUGH_RECORDS: u64 = 30;
