//! The table of devices: type names, their buses, properties, and how each is plugged in.

use std::sync::Arc;

use vm_device::DevicePio;
use vm_device::bus::{PioAddress, PioRange};
use vm_device::device_manager::{IoManager, PioManager};

use crate::acpi::Platform;
use crate::exit::Wishes;
use crate::options::{BadOption, DeviceOptions, Key, KeyVals, near_matches};
use crate::ports::{DebugExit, PvPanic};

/// What devices are plugged into.
pub struct Board<'a> {
    /// I/O ports and device memory.
    pub bus: &'a mut IoManager,
    /// What ACPI tells the guest.
    pub platform: &'a mut Platform,
    /// Where wishes of the guest go.
    pub wishes: &'a Wishes,
}

/// Plugs in the device that `options` describes.
///
/// # Errors
/// An unknown type or property, or a value that the device refuses.
pub fn plug(board: &mut Board<'_>, options: &DeviceOptions) -> Result<(), BadOption> {
    let row = find(&options.driver)?;
    let mut properties = properties(options);
    properties.check(row.properties)?;
    (row.plug)(board, &mut properties)
}

/// What `-device help` (no `driver`) and `-device TYPE,help` print.
///
/// # Errors
/// An unknown type.
pub fn help(driver: &str) -> Result<String, BadOption> {
    if driver.is_empty() {
        let line = |row: &Row| format!("  {:<20} bus {:<5} {}\n", row.name, row.bus, row.help);
        return Ok(format!(
            "Devices:\n{}",
            DEVICES.iter().map(line).collect::<String>()
        ));
    }
    let row = find(driver)?;
    let line = |(name, help): &Key| format!("  {name:<20} {help}\n");
    let properties = row.properties.iter().map(line).collect::<String>();
    Ok(format!(
        "{} ({})\nProperties:\n{properties}",
        row.name, row.help
    ))
}

/// One type of device.
struct Row {
    name: &'static str,
    bus: &'static str,
    help: &'static str,
    properties: &'static [Key],
    plug: fn(&mut Board<'_>, &mut KeyVals) -> Result<(), BadOption>,
}

fn find(driver: &str) -> Result<&'static Row, BadOption> {
    DEVICES
        .iter()
        .find(|row| row.name == driver)
        .ok_or_else(|| {
            let names = near_matches(driver, DEVICES.iter().map(|row| row.name));
            BadOption::value("-device", driver, "unknown type", names)
        })
}

fn properties(options: &DeviceOptions) -> KeyVals {
    KeyVals::of(
        &format!("-device {}", options.driver),
        options.properties.clone(),
    )
}

fn plug_debug_exit(board: &mut Board<'_>, properties: &mut KeyVals) -> Result<(), BadOption> {
    let base = properties
        .take_number("iobase", PORTS)?
        .unwrap_or(DEBUG_EXIT_PORT);
    let size = properties.take_number("iosize", 1..=4)?.unwrap_or(2);
    let device = Arc::new(DebugExit(board.wishes.clone()));
    plug_ports(board, properties, "iobase", (base, size), device).map(drop)
}

fn plug_pvpanic(board: &mut Board<'_>, properties: &mut KeyVals) -> Result<(), BadOption> {
    let base = properties
        .take_number("ioport", PORTS)?
        .unwrap_or(PVPANIC_PORT);
    let device = Arc::new(PvPanic(board.wishes.clone()));
    board.platform.pvpanic = Some(plug_ports(board, properties, "ioport", (base, 1), device)?);
    Ok(())
}

/// Registers `device` at `size` ports from `base`, which the property `key` gave; returns the first.
fn plug_ports(
    board: &mut Board<'_>,
    properties: &KeyVals,
    key: &str,
    (base, size): (u64, u64),
    device: Arc<dyn DevicePio + Send + Sync>,
) -> Result<u16, BadOption> {
    let port = u16::try_from(base).ok();
    let range = port
        .zip(u16::try_from(size).ok())
        .and_then(|(base, size)| PioRange::new(PioAddress(base), size).ok());
    let plugged = range.and_then(|range| board.bus.register_pio(range, device).ok());
    plugged.and(port).ok_or_else(|| {
        let value = format!("{base:#x}");
        BadOption::property(properties.option(), key, &value, "taken", "a free I/O port")
    })
}

const DEVICES: &[Row] = &[
    Row {
        name: "isa-debug-exit",
        bus: "ISA",
        help: "a write of n ends the VMM with status 2n + 1",
        properties: &[
            ("iobase", "<port> first I/O port (default 0x501)"),
            ("iosize", "<number> of I/O ports, 1 to 4 (default 2)"),
        ],
        plug: plug_debug_exit,
    },
    Row {
        name: "pvpanic",
        bus: "ISA",
        help: "a panic of the guest ends the VMM with status 4",
        properties: &[("ioport", "<port> I/O port (default 0x505)")],
        plug: plug_pvpanic,
    },
];
const PORTS: std::ops::RangeInclusive<u64> = 0..=0xffff;
const DEBUG_EXIT_PORT: u64 = 0x501;
const PVPANIC_PORT: u64 = 0x505;

#[cfg(test)]
#[path = "devices_tests.rs"]
mod tests;
