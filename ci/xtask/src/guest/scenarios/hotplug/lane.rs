//! A lane: one device that comes and goes, and how the guest has it do so.
//!
//! The guest says what is to happen next, on a port of its own for each lane, and is answered when it
//! has: so neither side guesses how long the other takes.

use std::thread::{JoinHandle, spawn};

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::table::{ROWS, Row};
use crate::guest::errand;
use crate::guest::machine::Machine;
use crate::guest::qmp::Qmp;

/// A lane.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    row: Row,
    /// Identifier of its device, and of all that belongs to the lane.
    pub(super) id: String,
    /// Number of its slot, where it has one: no other lane has it.
    slot: Option<u32>,
    /// How often its device comes and goes.
    rounds: u32,
}

impl Lane {
    /// The lanes of all rows, whose rounds are so many in each row.
    pub(super) fn all(rounds: u32) -> Vec<Self> {
        let mut slots = FIRST_SLOT..;
        let lanes = ROWS.iter().flat_map(|row| {
            (0..row.lanes).map(move |lane| (row, lane, rounds.div_ceil(row.lanes)))
        });
        lanes
            .map(|(row, lane, rounds)| Self {
                row: *row,
                id: format!("{}{lane}", row.name),
                slot: row.slot.then(|| slots.next()).flatten(),
                rounds,
            })
            .collect()
    }

    /// Gives the machine what the lane needs; `bus` makes the place of its slot.
    pub(super) fn equip(&self, machine: &mut Machine, bus: Bus) -> Result<()> {
        (self.row.equip)(machine, &self.id)?;
        if let (Bus::Ports, Some(slot)) = (bus, self.slot) {
            machine.device(&format!("pcie-root-port,id=rp{slot},chassis=1,slot={slot}"));
        }
        let control = self.control();
        machine.socket(&control);
        machine.device(&format!(
            "virtserialport,bus=lanes.0,chardev={control},name=org.example.{control}"
        ));
        machine.monitor_qmp(&self.monitor());
        Ok(())
    }

    /// The lane as the guest's script takes it: name of the row, identifier, slot, rounds.
    pub(super) fn word(&self) -> String {
        let slot = self.slot.unwrap_or_default();
        format!("{}:{}:{slot}:{}", self.row.name, self.id, self.rounds)
    }

    /// Serves the guest, in threads that end when the VMM does.
    pub(super) fn serve(&self, machine: &Machine, bus: Bus) -> Vec<JoinHandle<Result<()>>> {
        let (lane, there) = (self.clone(), machine.clone());
        let serve = spawn(move || lane.obey(&there, bus));
        let (lane, there) = (self.clone(), machine.clone());
        let beside = spawn(move || (lane.row.beside)(&there, &lane.id));
        vec![serve, beside]
    }

    fn control(&self) -> String {
        format!("{}-control", self.id)
    }

    fn monitor(&self) -> String {
        format!("{}-monitor", self.id)
    }

    /// Does what the guest says, until the VMM ends.
    fn obey(&self, machine: &Machine, bus: Bus) -> Result<()> {
        let mut monitor = Qmp::connect(&machine.file(&self.monitor()))?;
        let act = |word: &str| self.act(&mut monitor, bus, word).map(|()| String::new());
        errand::serve(&machine.file(&self.control()), act).map(drop)
    }

    fn act(&self, monitor: &mut Qmp, bus: Bus, word: &str) -> Result<()> {
        match word {
            "come" => self.come(monitor, bus),
            "go" => monitor
                .execute("device_del", json!({"id": self.id}))
                .map(drop),
            "gone" => self.gone(monitor),
            word => (self.row.more)(monitor, word),
        }
    }

    fn come(&self, monitor: &mut Qmp, bus: Bus) -> Result<()> {
        for (index, device) in self.row.devices.iter().enumerate() {
            let mut arguments = arguments(&device.replace('@', &self.id))?;
            if let (0, Some(slot)) = (index, self.slot) {
                bus.place(&mut arguments, slot);
            }
            monitor.execute("device_add", Value::Object(arguments))?;
        }
        Ok(())
    }

    /// Waits until all that came is gone, the first device last.
    fn gone(&self, monitor: &mut Qmp) -> Result<()> {
        for device in self.row.devices.iter().rev() {
            let arguments = arguments(&device.replace('@', &self.id))?;
            monitor.event("DEVICE_DELETED", |data| data["device"] == arguments["id"])?;
        }
        Ok(())
    }
}

/// The buses that slots are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bus {
    /// A conventional bus: hot-plug by ACPI.
    Conventional,
    /// A root port for each slot: native hot-plug.
    Ports,
}

impl Bus {
    /// What its hot-plug is called.
    pub(super) fn method(self) -> &'static str {
        match self {
            Self::Conventional => "acpi",
            Self::Ports => "native",
        }
    }

    fn place(self, arguments: &mut Map<String, Value>, slot: u32) {
        match self {
            Self::Conventional => {
                arguments.insert("bus".to_owned(), "pci.0".into());
                arguments.insert("addr".to_owned(), format!("{slot:#x}").into());
            }
            Self::Ports => {
                arguments.insert("bus".to_owned(), format!("rp{slot}").into());
            }
        }
    }
}

/// `driver,name=value,...` as the arguments of `device_add`.
fn arguments(device: &str) -> Result<Map<String, Value>> {
    let (driver, pairs) = device.split_once(',').context("a device without id")?;
    let pairs = pairs.split(',').filter_map(|pair| pair.split_once('='));
    let pairs = pairs.map(|(name, value)| (name.to_owned(), value.into()));
    let driver = ("driver".to_owned(), driver.into());
    Ok(std::iter::once(driver).chain(pairs).collect())
}

/// Those before it are taken by devices that stay.
const FIRST_SLOT: u32 = 16;
