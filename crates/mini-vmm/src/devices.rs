//! The table of devices: type names, their buses, properties, and how each is plugged in.

use std::sync::Arc;

use virtio_device::props::PropValue;
use virtio_pci::Addr;
use vm_device::DevicePio;
use vm_device::bus::{PioAddress, PioRange};
use vm_device::device_manager::{IoManager, PioManager};
use vm_pci::Slot;

use crate::acpi::Platform;
use crate::backends::Backends;
use crate::exit::Wishes;
use crate::options::{BadOption, DeviceOptions, Key, KeyVals, near_matches};
use crate::pci::Pci;
use crate::ports::{DebugExit, PvPanic};

/// What devices are plugged into.
pub struct Board<'a> {
    /// I/O ports and device memory.
    pub bus: &'a mut IoManager,
    /// PCI.
    pub pci: &'a mut Pci,
    /// Host ends, by identifier.
    pub backends: &'a mut Backends,
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
    (row.plug)(board, options.id.as_deref(), &mut properties)
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
    plug: Plug,
}

type Plug = fn(&mut Board<'_>, Option<&str>, &mut KeyVals) -> Result<(), BadOption>;

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

fn plug_debug_exit(
    board: &mut Board<'_>,
    _: Option<&str>,
    properties: &mut KeyVals,
) -> Result<(), BadOption> {
    let base = properties
        .take_number("iobase", PORTS)?
        .unwrap_or(DEBUG_EXIT_PORT);
    let size = properties.take_number("iosize", 1..=4)?.unwrap_or(2);
    let device = Arc::new(DebugExit(board.wishes.clone()));
    plug_ports(board, properties, "iobase", (base, size), device).map(drop)
}

fn plug_pvpanic(
    board: &mut Board<'_>,
    _: Option<&str>,
    properties: &mut KeyVals,
) -> Result<(), BadOption> {
    let base = properties
        .take_number("ioport", PORTS)?
        .unwrap_or(PVPANIC_PORT);
    let device = Arc::new(PvPanic(board.wishes.clone()));
    board.platform.pvpanic = Some(plug_ports(board, properties, "ioport", (base, 1), device)?);
    Ok(())
}

fn plug_root_port(
    board: &mut Board<'_>,
    id: Option<&str>,
    properties: &mut KeyVals,
) -> Result<(), BadOption> {
    let option = properties.option().to_owned();
    let Some(id) = id else {
        return Err(BadOption::property(
            &option,
            "id",
            "",
            "missing",
            "a name for its bus",
        ));
    };
    let addr = properties
        .take("addr")
        .map(|text| slot(&option, &text))
        .transpose()?;
    // Numbers that only name the port to the user's eyes, given for QEMU's sake.
    properties.take_number("chassis", 0..=0xff)?;
    properties.take_number("port", 0..=0xff)?;
    properties.take_number("slot", 0..=0x1fff)?;
    let location = board
        .pci
        .locate(&option, properties.take("bus").as_deref(), addr)?;
    board.pci.attach_port(&option, id, location)
}

/// A slot as QEMU writes it: device and function in hexadecimal.
fn slot(option: &str, text: &str) -> Result<Slot, BadOption> {
    let parsed = Addr::parse(text).map(|addr| addr.0);
    parsed.ok_or_else(|| BadOption::property(option, "addr", text, "not a slot", Addr::ACCEPTS))
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
        name: "pcie-root-port",
        bus: "PCI",
        help: "a PCI Express port, whose bus has the name given by id=",
        properties: &[
            (
                "addr",
                "<slot[.function]> place on the bus (default: a free one)",
            ),
            ("bus", "<name> pcie.0, the only bus with ports"),
            ("chassis", "<number> accepted, without effect"),
            ("port", "<number> accepted, without effect"),
            ("slot", "<number> accepted, without effect"),
        ],
        plug: plug_root_port,
    },
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
