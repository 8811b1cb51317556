//! PCI of the machine: the root complex and the wires of its slots.

mod chipset;
mod plug;

use std::collections::BTreeMap;
use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;

use virtio_pci::{PciSlot, Place};
use vm_device::bus::{PioAddress, PioRange};
use vm_device::device_manager::{IoManager, PioManager};
use vm_pci::{
    BusId, HostBridge, InterruptPin, PciFunction, RootComplex, RootPort, RootPortConfig, Slot,
    Windows,
};

use self::chipset::Chipset;
use crate::error::Error;
use crate::event_device::EventDevice;
use crate::hotplug::{Departures, PciHotplug};
use crate::layout;
use crate::line::IntxLines;
use crate::options::{Accel, BadOption, Config};
use crate::wires::Wires;

/// The root complex, its ports by name, and what a slot is wired to.
pub struct Pci {
    root: Arc<RootComplex>,
    /// `None` for a machine without PCI.
    chipset: Option<&'static Chipset>,
    /// Whether BARs are placed at a reset, as by firmware.
    places_bars: bool,
    /// Whether configuration space is at ports 0xcf8 to 0xcff, too.
    has_ports: bool,
    ports: BTreeMap<String, Behind>,
    wires: Wires,
    lines: IntxLines,
    departures: Arc<Departures>,
    /// Hot-plug on the root bus, where there is such a thing.
    hotplug: Option<Arc<PciHotplug>>,
}

/// What is behind a root port.
struct Behind {
    bus: BusId,
    /// The port's own number on the root bus.
    device: u8,
    port: Arc<RootPort>,
    /// Chassis and number, which no other slot has.
    slot: (u64, u16),
    hot_plug: bool,
}

/// What a root port is told to be; the rest follows from the number of its bus.
#[derive(Clone, Copy, Debug)]
pub struct PortSettings {
    /// Number of the chassis that its slot is in.
    pub chassis: u64,
    /// Number of the port.
    pub number: Option<u64>,
    /// Number of the slot.
    pub slot: Option<u64>,
    /// Whether devices may come and go while the guest runs.
    pub hot_plug: bool,
}

/// Where a function goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    bus: BusId,
    slot: Slot,
}

impl Location {
    /// The place of function `slot` on `bus`.
    pub fn new(bus: BusId, slot: Slot) -> Self {
        Self { bus, slot }
    }

    /// Device and function number on its bus.
    pub fn slot(self) -> Slot {
        self.slot
    }
}

/// A function in its place.
pub struct Function {
    /// Where it is.
    pub place: Location,
    /// Number of its bus; 0 before the guest has numbered it.
    pub bus: u8,
    /// The function.
    pub function: Arc<dyn PciFunction>,
}

impl Pci {
    /// The root complex that `config` asks for, with a host bridge. The guest hears of hot-plug on
    /// the root bus by `events`; devices that it lets go are announced to `departures`.
    ///
    /// # Errors
    /// None that a host could cause.
    pub fn new(
        wires: Wires,
        config: &Config,
        events: &Arc<EventDevice>,
        departures: Arc<Departures>,
    ) -> Result<Self, Error> {
        let chipset = Chipset::of(config.machine);
        let window = |range: layout::Range| Some(range.base..=range.end() - 1);
        let windows = Windows {
            pio: chipset.map(|chipset| chipset.ports.clone()),
            mmio32: window(layout::PCI_MMIO32),
            mmio64: window(layout::pci_mmio64(config.memory)),
        };
        let bridge = chipset.map_or(HostBridge::Q35, |chipset| chipset.bridge);
        let bridge = HostBridge::new(bridge).map_err(refused)?;
        let root = RootComplex::new(windows, Arc::new(bridge)).map_err(refused)?;
        let ejected = Arc::clone(&departures);
        let root = Arc::new(root.on_eject(move |bus| {
            ejected.announce(Location::new(bus, Slot::new(0, 0)));
        }));
        let hotplug = chipset.filter(|chipset| !chipset.express).map(|_| {
            let (root, departures) = (Arc::clone(&root), Arc::clone(&departures));
            Arc::new(PciHotplug::new(root, Arc::clone(events), departures))
        });
        Ok(Self {
            root,
            departures,
            hotplug,
            chipset,
            places_bars: config.accel == Accel::Kvm,
            has_ports: config.has_conf1(),
            ports: BTreeMap::new(),
            lines: IntxLines::new(&wires.lines),
            wires,
        })
    }

    /// Number of buses: the root bus, and one behind each port.
    pub fn buses(&self) -> u8 {
        u8::try_from(self.ports.len() + 1).unwrap_or(u8::MAX)
    }

    /// Whether the root bus is one of PCI Express.
    pub fn is_express(&self) -> bool {
        self.chipset.is_some_and(|chipset| chipset.express)
    }

    /// The I/O ports for BARs.
    pub fn ports(&self) -> Option<RangeInclusive<u16>> {
        self.chipset.map(|chipset| chipset.ports.clone())
    }

    /// Finds the place that `bus` and `addr` name; without them, the root bus and a free slot.
    ///
    /// # Errors
    /// A bus that does not exist, or that is full, under the name of `option`.
    pub fn locate(
        &self,
        option: &str,
        bus: Option<&str>,
        slot: Option<Slot>,
    ) -> Result<Location, BadOption> {
        let bus = self.bus_called(option, bus)?;
        let free = || {
            self.root
                .free_device(bus)
                .map(|device| Slot::new(device, 0))
        };
        let slot = slot.map_or_else(free, Ok);
        let slot = slot.map_err(|error| BadOption::new(option, error, "a bus with a free slot"))?;
        Ok(Location { bus, slot })
    }

    /// The wires of `location`.
    pub fn wires(&self, location: Location) -> PciSlot {
        let root = location.bus == BusId::ROOT;
        let doorbells = self.wires.doorbells.as_ref();
        PciSlot {
            place: if root {
                Place::RootBus
            } else {
                Place::RootPort
            },
            msi: Arc::clone(&self.wires.msi),
            intx: self.lines.pin(self.root_device(location)),
            ioeventfds: doorbells.map(|doorbells| Arc::clone(doorbells) as _),
            // A test makes its accesses one after the other, and expects the last one to have worked.
            reset_waits: doorbells.is_none(),
        }
    }

    /// The device of the root bus whose pins those at `location` are. Behind a port there is one
    /// device, number 0, so its pins are the port's own (PCI-to-PCI Bridge Architecture 1.2, section
    /// 9.1).
    fn root_device(&self, location: Location) -> u8 {
        let port = self.ports.values().find(|port| port.bus == location.bus);
        port.map_or(location.slot.device(), |port| port.device)
    }

    /// Plugs `function` in at `location`.
    ///
    /// # Errors
    /// A place that is taken or that the bus does not have, under the name of `option`.
    pub fn attach(
        &self,
        option: &str,
        location: Location,
        function: Arc<dyn PciFunction>,
    ) -> Result<(), BadOption> {
        let attached = self.root.attach(location.bus, location.slot, function);
        attached.map_err(|error| {
            let slot = location.slot.to_string();
            BadOption::property(option, "addr", &slot, error, "a free slot")
        })
    }

    /// Plugs in a root port, whose bus has the name `id` from now on.
    ///
    /// # Errors
    /// A slot that is taken, or more ports than ECAM has buses.
    pub fn attach_port(
        &mut self,
        option: &str,
        id: &str,
        location: Location,
        settings: PortSettings,
    ) -> Result<(), BadOption> {
        let bad = |error: &dyn std::fmt::Display| {
            let slot = location.slot.to_string();
            BadOption::property(option, "addr", &slot, error, "a free slot of pcie.0")
        };
        if self.buses() >= layout::MOST_BUSES || location.bus != BusId::ROOT || !self.is_express() {
            return Err(bad(&"no root port can be here"));
        }
        let config = self.port_config(location, settings);
        let slot = (settings.chassis, config.slot);
        if self.ports.values().any(|behind| behind.slot == slot) {
            let (given, accepted) = (config.slot.to_string(), "another slot, or another chassis");
            let taken = "taken in this chassis";
            return Err(BadOption::property(option, "slot", &given, taken, accepted));
        }
        let port = Arc::new(RootPort::new(config).map_err(|error| bad(&error))?);
        let bus = self.root.attach_port(location.slot, Arc::clone(&port));
        let behind = Behind {
            bus: bus.map_err(|error| bad(&error))?,
            device: location.slot.device(),
            port,
            slot,
            hot_plug: settings.hot_plug,
        };
        self.ports.insert(id.to_owned(), behind);
        Ok(())
    }

    fn port_config(&self, location: Location, settings: PortSettings) -> RootPortConfig {
        let pin = self.lines.pin(location.slot.device());
        let config = RootPortConfig::new(self.buses());
        let number = settings.number.and_then(|number| number.try_into().ok());
        let slot = settings.slot.and_then(|slot| slot.try_into().ok());
        RootPortConfig {
            port: number.unwrap_or(config.port),
            slot: slot.unwrap_or(config.slot),
            hot_plug: settings.hot_plug,
            msi: Some(Arc::clone(&self.wires.msi)),
            intx: pin.map(|pin| (InterruptPin::A, pin)),
            ..config
        }
    }

    /// Devices that the guest has let go.
    pub fn departures(&self) -> &Arc<Departures> {
        &self.departures
    }

    /// All functions, in the order of their places.
    pub fn functions(&self) -> Vec<Function> {
        let functions = self.root.functions().into_iter();
        let functions = functions.filter(|_| self.chipset.is_some());
        let placed = functions.map(|(bus, slot, function)| Function {
            place: Location { bus, slot },
            bus: self.root.bus_number(bus).unwrap_or(0),
            function,
        });
        placed.collect()
    }

    /// Makes everything reachable from `bus`. Called once, when all ports are there.
    ///
    /// # Errors
    /// Ranges that something else has taken.
    pub fn register(&self, bus: &mut IoManager) -> Result<(), Error> {
        let Some(chipset) = self.chipset else {
            return Ok(());
        };
        if let Some(hotplug) = &self.hotplug {
            let range = PioRange::new(PioAddress(layout::PCI_HOTPLUG), PciHotplug::SIZE);
            let device = Arc::clone(hotplug) as _;
            let plugged = range.and_then(|range| bus.register_pio(range, device));
            plugged.map_err(refused)?;
        }
        let windows = self.root.register_windows(bus);
        windows.map_err(refused)?;
        if self.has_ports {
            self.root.register_ports(bus).map_err(refused)?;
        }
        match chipset.express {
            true => {
                let ecam = self
                    .root
                    .register_ecam(bus, layout::ECAM_BASE, self.buses());
                ecam.map_err(refused)
            }
            false => Ok(()),
        }
    }

    /// Resets all functions and, where there is none, does what firmware would have done: numbers
    /// buses, places BARs.
    ///
    /// # Errors
    /// BARs for which there is no room.
    pub fn reset(&self) -> Result<(), Error> {
        if let Some(hotplug) = &self.hotplug {
            hotplug.reset();
        }
        self.root.reset();
        match self.places_bars {
            true => self.root.assign_bars().map_err(refused),
            false => Ok(()),
        }
    }

    fn bus_called(&self, option: &str, name: Option<&str>) -> Result<BusId, BadOption> {
        self.bus(name).ok_or_else(|| {
            let (name, names) = (name.unwrap_or_default(), self.bus_names().join(", "));
            BadOption::property(option, "bus", name, "no such bus", names)
        })
    }

    /// The bus called `name`; the root bus without a name.
    fn bus(&self, name: Option<&str>) -> Option<BusId> {
        let root = self.chipset?.bus;
        match name {
            None => Some(BusId::ROOT),
            Some(name) if name == root => Some(BusId::ROOT),
            Some(name) => self.ports.get(name).map(|behind| behind.bus),
        }
    }

    fn bus_names(&self) -> Vec<&str> {
        let root = self.chipset.iter().map(|chipset| chipset.bus);
        root.chain(self.ports.keys().map(String::as_str)).collect()
    }
}

fn refused(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Host("cannot set up PCI", io::Error::other(error))
}
