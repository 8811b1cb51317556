//! Ten mebibytes through a named virtio-serial port in each direction. The guest compares the
//! checksum of what it received with the one on its command line, then sends the data back. The rings
//! are packed; those of the console's controller are not.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::guest::machine::Machine;
use crate::guest::scenario::{Play, Scenario, Shared, nothing};
use crate::guest::verdict::Verdict;
use crate::process::output;
use crate::socket;

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "port",
    equip,
    play: Play::Shared(Shared {
        checks: |_| vec!["port-in".to_owned()],
        beside,
        after: nothing,
    }),
};

fn equip(machine: &mut Machine) -> Result<()> {
    let data = machine.file("port-data");
    let mut random = vec![0; LENGTH];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    fs::write(&data, random)?;
    machine.parameter(&format!("port_sum={}", checksum(&data)?));
    machine.socket("port");
    machine.device(&format!("{},packed=on,id=packed", machine.virtio("serial")));
    machine.device("virtserialport,bus=packed.0,chardev=port,name=org.example.port");
    Ok(())
}

fn beside(machine: &Machine) -> Vec<Verdict> {
    vec![Verdict::of("port-out", exchange(machine))]
}

fn exchange(machine: &Machine) -> Result<String> {
    let (sent, received) = (machine.file("port-data"), machine.file("port-received"));
    let mut stream = socket::connect(&machine.file("port"))?;
    stream
        .write_all(&fs::read(&sent)?)
        .context("sending to the port")?;
    let mut back = Vec::new();
    (&stream)
        .take(LENGTH as u64)
        .read_to_end(&mut back)
        .context("receiving from the port")?;
    ensure!(
        back.len() == LENGTH,
        "only {} of {LENGTH} bytes came back",
        back.len()
    );
    fs::write(&received, back)?;
    let (expected, found) = (checksum(&sent)?, checksum(&received)?);
    ensure!(expected == found, "sha256 is {found}, not {expected}");
    Ok(format!("{LENGTH} bytes, sha256 {found}"))
}

fn checksum(file: &Path) -> Result<String> {
    let line = output(Command::new("sha256sum").arg(file))?;
    Ok(line.split(' ').next().unwrap_or_default().to_owned())
}

const LENGTH: usize = 10 << 20;
