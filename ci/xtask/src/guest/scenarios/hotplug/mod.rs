//! Devices come and go while the guest works: a hundred rounds of each row of the table (one level
//! down eight, unless all is asked for), on a conventional bus and under root ports, all rows at the
//! same time, with a disk under load beside them, which shares its thread with some of them. What the
//! VMM has open, and has of KVM, is counted before and after. A disk goes while it is written to, one
//! grows, the machine is paused under load, the guest reboots with a device that came later, and its
//! power button is pressed.
//!
//! Under root ports the guest takes the five seconds that follow an attention button only in the
//! first round of a lane; in the others it turns the slot off itself, as its user could.

mod desk;
mod lane;
mod peer;
mod table;

use std::collections::BTreeSet;

use anyhow::{Result, anyhow, bail};

use crate::guest::machine::Machine;
use crate::guest::scenario::{BOOT, Play, SILENCE, Scenario};
use crate::guest::session::{Guest, Report};
use crate::guest::verdict::Verdict;
use lane::{Bus, Lane};
use table::ROWS;

/// Hot-plug by ACPI.
pub const ACPI: Scenario = Scenario {
    name: "hotplug-acpi",
    equip: |machine| equip(machine, Bus::Conventional),
    play: Play::Alone(|guest, machine| play(guest, machine, Bus::Conventional)),
};

/// Native hot-plug of PCI Express.
pub const NATIVE: Scenario = Scenario {
    name: "hotplug-native",
    equip: |machine| equip(machine, Bus::Ports),
    play: Play::Alone(|guest, machine| play(guest, machine, Bus::Ports)),
};

fn equip(machine: &mut Machine, bus: Bus) -> Result<()> {
    machine.reboots = true;
    machine.spare_processors();
    if bus == Bus::Conventional {
        machine.option("-machine", "pc");
    }
    machine.option("-object", "iothread,id=lanes");
    machine.disk("virtio-blk-pci,iothread=lanes", "load", 4 << 20)?;
    machine.disk("virtio-blk-pci", "resize", 16 << 20)?;
    machine.device("virtio-serial-pci,id=lanes");
    let lanes = Lane::all(rounds(machine));
    lanes.iter().try_for_each(|lane| lane.equip(machine, bus))?;
    desk::equip(machine);
    let words: Vec<_> = lanes.iter().map(Lane::word).collect();
    machine.parameter(&format!("lanes={}", words.join(",")));
    machine.parameter(&format!("hotplug={}", bus.method()));
    Ok(())
}

fn play(guest: &mut Guest, machine: &Machine, bus: Bus) -> Result<Vec<Verdict>> {
    let lanes = Lane::all(rounds(machine));
    let serving: Vec<_> = lanes
        .iter()
        .flat_map(|lane| lane.serve(machine, bus))
        .chain([desk::serve(machine, guest.process())])
        .collect();
    let heard = listen(guest);
    guest.kill()?;
    // They end with the VMM; what went wrong with one, the guest has said.
    for thread in serving {
        let _ = thread.join();
    }
    let (mut verdicts, mut missing) = (heard?, checks(bus));
    verdicts.iter().for_each(|verdict| {
        missing.remove(&verdict.check);
    });
    let silent = || Err(anyhow!("the guest never reported it"));
    verdicts.extend(missing.iter().map(|check| Verdict::of(check, silent())));
    Ok(verdicts)
}

/// What the guest must report.
fn checks(bus: Bus) -> BTreeSet<String> {
    let rows = ROWS.iter().map(|row| row.name);
    let checks = rows.chain([
        "counts",
        "busy",
        "resize",
        "pause",
        "calm",
        "come_again",
        "press",
    ]);
    checks
        .map(|check| format!("{}-{check}", bus.method()))
        .collect()
}

/// What the guest reports in its two boots.
fn listen(guest: &mut Guest) -> Result<Vec<Verdict>> {
    let mut verdicts = Vec::new();
    guest.ready(BOOT)?;
    loop {
        match guest.report(SILENCE)? {
            Report::Verdict(verdict) => verdicts.push(verdict),
            Report::Done => return Ok(verdicts),
            Report::Ended => bail!("{}", guest.early_end()),
            _ => {}
        }
    }
}

/// Rounds of each row, at least, beside a first one of each lane.
fn rounds(machine: &Machine) -> u32 {
    if machine.full { 100 } else { 8 }
}
