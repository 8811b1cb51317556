//! A console on virtio-serial: a line goes out of the guest and another one comes in.

use std::io::{BufRead, BufReader, Write};

use anyhow::{Context, Result, ensure};

use crate::guest::machine::Machine;
use crate::guest::scenario::{Play, Scenario, Shared, nothing};
use crate::guest::verdict::Verdict;
use crate::socket;

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "console",
    equip,
    play: Play::Shared(Shared {
        checks: |_| vec!["console-in".to_owned()],
        beside,
        after: nothing,
    }),
};

fn equip(machine: &mut Machine) -> Result<()> {
    machine.socket("console");
    machine.device(&machine.virtio("serial"));
    machine.device("virtconsole,chardev=console");
    Ok(())
}

fn beside(machine: &Machine) -> Vec<Verdict> {
    vec![Verdict::of("console-out", talk(machine))]
}

fn talk(machine: &Machine) -> Result<String> {
    let stream = socket::connect(&machine.file("console"))?;
    let mut line = String::new();
    BufReader::new(&stream)
        .read_line(&mut line)
        .context("the console's output")?;
    ensure!(
        line.trim_end() == FROM_GUEST,
        "expected {FROM_GUEST:?}, got {line:?}"
    );
    (&stream)
        .write_all(TO_GUEST.as_bytes())
        .context("the console's input")?;
    Ok(format!("the guest says {FROM_GUEST:?}"))
}

const FROM_GUEST: &str = "hello from hvc0";
const TO_GUEST: &str = "hello from outside\n";
