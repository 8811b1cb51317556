//! Devices: made from options and host ends first, plugged into the machine later.
//!
//! Whatever can be wrong with an option is found while a device is made, before there is a machine.
//! `table.rs` is the one place that says which types there are.

mod balloon;
mod blk;
mod child;
mod fixed;
mod isa;
mod net;
mod p9;
mod plugged;
mod proxy;
mod rng;
mod root_port;
mod scsi;
mod serial;
mod table;
mod tenant;
mod threads;
mod virtio;

use std::sync::Arc;

use virtio_ccw::css::ChannelSubsystem;
use virtio_device::props::PropHelp;
use vm_device::device_manager::IoManager;

use crate::acpi::Platform;
use crate::backends::Backends;
use crate::exit::Wishes;
use crate::memory::SharedMemory;
use crate::mmio::Mmio;
use crate::options::{BadOption, Config, DeviceOptions, KeyVals, near_matches};
use crate::pci::Pci;
use crate::workers::Workers;
pub use net::{FilterNews, NetControl};
pub use plugged::{Control, Plugged, PluggedPort, PluggedUnit, Seat};
use scsi::Units;
pub(crate) use scsi::refused as refused_unit;
use serial::Ports;
use table::{DEVICES, Kind, Row};
pub(crate) use virtio::{apply_pairs, bad_property, line as property_line};

/// What devices are plugged into before the machine runs.
pub struct Board<'a> {
    /// The buses of the machine.
    pub buses: Buses<'a>,
    /// Guest memory.
    pub memory: &'a SharedMemory,
    /// Where devices do their work.
    pub workers: &'a Workers,
    /// Where wishes of the guest go.
    pub wishes: &'a Wishes,
}

/// Buses, by the kind of machine.
pub enum Buses<'a> {
    /// A PC.
    Pc(Pc<'a>),
    /// A machine with channel I/O. mini-vmm is none, but others use this table, too.
    Channels(&'a ChannelSubsystem),
}

/// The buses of a PC.
pub struct Pc<'a> {
    /// I/O ports and device memory.
    pub bus: &'a mut IoManager,
    /// PCI.
    pub pci: &'a mut Pci,
    /// Virtio-mmio slots.
    pub mmio: &'a mut Mmio,
    /// What ACPI tells the guest.
    pub platform: &'a mut Platform,
}

impl<'a> Buses<'a> {
    fn pc(&mut self, option: &str) -> Result<&mut Pc<'a>, BadOption> {
        match self {
            Self::Pc(pc) => Ok(pc),
            Self::Channels(_) => Err(no_bus(option, "devices for channel I/O")),
        }
    }

    fn channels(&self, option: &str) -> Result<&'a ChannelSubsystem, BadOption> {
        match self {
            Self::Channels(css) => Ok(css),
            Self::Pc(_) => Err(no_bus(option, "devices for PCI, ISA and virtio-mmio")),
        }
    }
}

/// What virtio devices are plugged into at any time.
pub struct Bay<'a> {
    /// PCI.
    pub pci: &'a mut Pci,
    /// Guest memory.
    pub memory: &'a SharedMemory,
    /// Where devices do their work.
    pub workers: &'a Workers,
}

/// A device that is made, and only needs to be plugged in.
pub enum Plug {
    /// Before the machine runs.
    Board(BoardPlug),
    /// At any time, into PCI; the option is what errors call the device.
    Pci(String, PciPlug),
}

/// A part of the board that is made, and a virtio device if it is one.
pub type BoardPlug = Box<dyn FnOnce(&mut Board<'_>) -> Result<Option<Plugged>, BadOption>>;

/// A PCI device that is made, and only needs to be plugged in.
pub type PciPlug = Box<dyn FnOnce(&mut Bay<'_>) -> Result<Plugged, BadOption>>;

impl Plug {
    /// Plugs the device in.
    ///
    /// # Errors
    /// A place that is taken, or a host that refuses something.
    pub fn plug(self, board: &mut Board<'_>) -> Result<Option<Plugged>, BadOption> {
        match self {
            Self::Board(plug) => plug(board),
            Self::Pci(option, plug) => {
                let pci = &mut *board.buses.pc(&option)?.pci;
                let (memory, workers) = (board.memory, board.workers);
                plug(&mut Bay {
                    pci,
                    memory,
                    workers,
                })
                .map(Some)
            }
        }
    }
}

/// Makes the devices of `config` on the host ends in `backends`, in the order given.
///
/// # Errors
/// An unknown type or property, or a value that a device refuses.
pub fn make(config: &Config, backends: &mut Backends) -> Result<Vec<Plug>, BadOption> {
    let devices = config.devices.iter();
    let devices = devices.map(|options| Ok((options, find(&options.driver)?)));
    let devices: Vec<(&DeviceOptions, &Row)> = devices.collect::<Result<_, _>>()?;
    let paths = devices.iter();
    let paths = paths.map(|(options, _)| backends.path_of_new(options.id.as_deref()));
    let paths: Vec<_> = paths.collect();
    let mut ports = serial::ports(&devices, &paths, backends)?;
    let mut units = scsi::units(&devices, &paths, backends)?;
    let mut plugs = Vec::new();
    for (index, ((options, row), path)) in devices.into_iter().zip(paths).enumerate() {
        let id = options.id.clone();
        plugs.push(match row.kind {
            Kind::Port(_) | Kind::Unit(_) => continue,
            Kind::Board { properties, make } => {
                let mut given = KeyVals::of(&option(options), options.properties.clone());
                given.check(properties)?;
                make(id, given)?
            }
            Kind::Virtio(model, proxy) => {
                let parts = Parts {
                    backends,
                    driver: row.name,
                    path,
                    cpus: config.cpus,
                    ports: ports.remove(&index).unwrap_or_default(),
                    units: units.remove(&index).unwrap_or_default(),
                    control: Control::None,
                    workers: None,
                };
                virtio::make(options, model, proxy, parts)?
            }
        });
    }
    Ok(plugs)
}

/// Makes the device of `options` for a machine that runs, with `cpus` processors.
///
/// # Errors
/// An unknown type or property, a value that a device refuses, and a type that is part of the
/// board.
pub fn make_pci(
    options: &DeviceOptions,
    backends: &mut Backends,
    cpus: u8,
) -> Result<PciPlug, BadOption> {
    let row = find(&options.driver)?;
    let made = match row.kind {
        Kind::Virtio(model, proxy) => {
            let parts = Parts {
                driver: row.name,
                path: backends.path_of_new(options.id.as_deref()),
                backends,
                cpus,
                ports: Ports::new(),
                units: Units::new(),
                control: Control::None,
                workers: None,
            };
            Some(virtio::make(options, model, proxy, parts)?)
        }
        Kind::Board { .. } | Kind::Port(_) | Kind::Unit(_) => None,
    };
    match made {
        Some(Plug::Pci(_, plug)) => Ok(plug),
        _ => Err(BadOption::new(
            &option(options),
            "no device that can come later",
            "a virtio device on PCI",
        )),
    }
}

/// Adds the port or unit of `options` to one of `devices` while the machine runs. `None` if its type
/// is that of neither.
///
/// # Errors
/// An unknown type or property, a value that is refused, or no device that could take it.
pub fn add_child(
    options: &DeviceOptions,
    backends: &mut Backends,
    devices: &mut [Plugged],
) -> Result<Option<()>, BadOption> {
    let row = find(&options.driver)?;
    let mut path = || backends.path_of_new(options.id.as_deref());
    match row.kind {
        Kind::Port(kind) => {
            let options = (options, path());
            serial::add_port(options, kind, backends, devices).map(Some)
        }
        Kind::Unit(kind) => {
            let options = (options, row.name, path());
            scsi::add_unit(options, kind, backends, devices).map(Some)
        }
        Kind::Board { .. } | Kind::Virtio(..) => Ok(None),
    }
}

/// Names of all types.
pub fn names() -> impl Iterator<Item = &'static str> {
    DEVICES.iter().map(|row| row.name)
}

/// Properties of the type `driver`.
///
/// # Errors
/// An unknown type.
pub fn properties(driver: &str) -> Result<Vec<PropHelp>, BadOption> {
    let row = find(driver)?;
    Ok(match row.kind {
        Kind::Board { properties, .. } => properties
            .iter()
            .map(|(name, help)| PropHelp {
                name,
                accepts: "text",
                value: String::new(),
                help,
            })
            .collect(),
        Kind::Virtio(model, proxy) => virtio::properties(row.name, model, proxy),
        Kind::Port(_) => serial::port_properties(),
        Kind::Unit(kind) => scsi::unit_properties(row.name, kind),
    })
}

/// What `-device help` (no `driver`) and `-device TYPE,help` print.
///
/// # Errors
/// An unknown type.
pub fn help(driver: &str) -> Result<String, BadOption> {
    if driver.is_empty() {
        let width = DEVICES.iter().map(|row| row.name.len()).max().unwrap_or(0);
        let line = |row: &Row| {
            format!(
                "  {:width$} bus {:<13} {}\n",
                row.name,
                row.bus(),
                row.help()
            )
        };
        let lines = DEVICES.iter().map(line).collect::<String>();
        return Ok(format!("Devices:\n{lines}"));
    }
    let row = find(driver)?;
    let lines = match row.kind {
        Kind::Board { properties, .. } => properties
            .iter()
            .map(|(name, help)| format!("  {name:<26} {help}\n"))
            .collect(),
        Kind::Virtio(model, proxy) => list(virtio::properties(row.name, model, proxy)),
        Kind::Port(_) => list(serial::port_properties()),
        Kind::Unit(kind) => list(scsi::unit_properties(row.name, kind)),
    };
    Ok(format!(
        "{} ({})\nProperties:\n{lines}",
        row.name,
        row.help()
    ))
}

/// Properties as help lists them.
fn list(properties: Vec<PropHelp>) -> String {
    properties.iter().map(virtio::line).collect()
}

/// What a device can be made of.
struct Parts<'a> {
    backends: &'a mut Backends,
    /// Name of its type.
    driver: &'static str,
    /// Its path among QEMU's objects.
    path: String,
    /// Number of vCPUs.
    cpus: u8,
    /// Ports, where it is a controller of such.
    ports: Ports,
    /// Units, where it is a SCSI bus.
    units: Units,
    /// What the device, once made, can be controlled by.
    control: Control,
    /// Where it does its work, if not where others do.
    workers: Option<Arc<Workers>>,
}

/// As in QEMU a name without a bus, such as `virtio-blk`, is that of a device on PCI.
fn find(driver: &str) -> Result<&'static Row, BadOption> {
    let named = |name: &str| DEVICES.iter().find(|row| row.name == name);
    let row = named(driver).or_else(|| named(&format!("{driver}-pci")));
    row.ok_or_else(|| {
        let names = near_matches(driver, DEVICES.iter().map(|row| row.name));
        BadOption::value("-device", driver, "unknown type", names)
    })
}

/// How errors call a device.
fn option(options: &DeviceOptions) -> String {
    format!("-device {}", options.driver)
}

fn no_bus(option: &str, accepted: &str) -> BadOption {
    BadOption::new(option, "this machine has no bus for it", accepted)
}

#[cfg(test)]
mod fixed_tests;
#[cfg(test)]
mod tests;
