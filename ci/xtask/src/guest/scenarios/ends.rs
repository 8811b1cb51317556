//! Host ends of every kind, inside the sandbox, which would name and end whatever it forgot: direct
//! I/O, discards, files, pseudo-terminals, a socket that nobody reads. At last SIGTERM in the middle
//! of writes: the VMM ends in order, and every acknowledged record is in the image.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use rustix::fs::{Mode, OFlags, open};

use crate::guest::machine::Machine;
use crate::guest::scenario::{BOOT, Play, SILENCE, Scenario};
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
    for name in ["direct", "through", "readonly"] {
        File::create(machine.file(name))?.set_len(SIZE)?;
    }
    let direct = direct(machine);
    let cache = if takes_direct_io(&direct) {
        "cache=none,"
    } else {
        ""
    };
    machine.drive(
        "virtio-blk-pci",
        "direct",
        &direct,
        &format!("{cache}discard=unmap,"),
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
    let mut verdicts = Vec::new();
    guest.ready(BOOT)?;
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
        Verdict::of("ends-records", find_records(&direct(machine), last)),
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

/// L1 has a block device that takes direct I/O, where its file system does not.
fn direct(machine: &Machine) -> PathBuf {
    let device = Path::new("/run/direct");
    if device.exists() {
        device.to_owned()
    } else {
        machine.file("direct")
    }
}

fn takes_direct_io(path: &Path) -> bool {
    open(
        path,
        OFlags::RDWR | OFlags::DIRECT | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .is_ok()
}

fn find_records(image: &Path, acknowledged: u64) -> Result<String> {
    let file = File::open(image)?;
    for record in 1..=acknowledged {
        let expected = format!("record {record}\n");
        let mut found = vec![0; expected.len()];
        file.read_exact_at(&mut found, (4096 + record) * 512)?;
        ensure!(
            found == expected.as_bytes(),
            "record {record} of {acknowledged} is missing"
        );
    }
    Ok(format!(
        "{acknowledged} records acknowledged, {acknowledged} found"
    ))
}

fn check_file(path: &Path) -> Result<String> {
    let text = fs::read_to_string(path)?;
    ensure!(text.trim_end() == "hello file", "the file has {text:?}");
    Ok("the file has what the port was told".to_owned())
}

const SIZE: u64 = 16 << 20;
const ENOUGH_RECORDS: u64 = 30;
