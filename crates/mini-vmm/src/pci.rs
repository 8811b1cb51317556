//! PCI of the machine: the root complex and the wires of its slots.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use virtio_pci::{PciSlot, Place};
use vm_device::device_manager::IoManager;
use vm_pci::{
    BusId, HostBridge, PciFunction, RootComplex, RootPort, RootPortConfig, Slot, Windows,
};

use crate::error::Error;
use crate::layout;
use crate::line::IntxLines;
use crate::options::BadOption;
use crate::wires::Wires;

/// The root complex, its ports by name, and what a slot is wired to.
pub struct Pci {
    root: Arc<RootComplex>,
    ports: BTreeMap<String, BusId>,
    wires: Wires,
    lines: IntxLines,
}

/// Where a function goes.
#[derive(Clone, Copy, Debug)]
pub struct Location {
    bus: BusId,
    slot: Slot,
}

impl Pci {
    /// A root complex with a host bridge, for a machine with `memory` bytes of RAM.
    ///
    /// # Errors
    /// None that a host could cause.
    pub fn new(wires: Wires, memory: u64) -> Result<Self, Error> {
        let window = |range: layout::Range| Some(range.base..=range.end() - 1);
        let windows = Windows {
            pio: Some(layout::PCI_PORTS),
            mmio32: window(layout::PCI_MMIO32),
            mmio64: window(layout::pci_mmio64(memory)),
        };
        let bridge = HostBridge::new(HostBridge::Q35).map_err(refused)?;
        Ok(Self {
            root: Arc::new(RootComplex::new(windows, Arc::new(bridge)).map_err(refused)?),
            ports: BTreeMap::new(),
            lines: IntxLines::new(&wires.lines),
            wires,
        })
    }

    /// Number of buses: the root bus, and one behind each port.
    pub fn buses(&self) -> u8 {
        u8::try_from(self.ports.len() + 1).unwrap_or(u8::MAX)
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
        let bus = match bus {
            None | Some(ROOT_BUS) => BusId::ROOT,
            Some(name) => *self.ports.get(name).ok_or_else(|| {
                let names = self.ports.keys().map(String::as_str);
                let names = [ROOT_BUS]
                    .into_iter()
                    .chain(names)
                    .collect::<Vec<_>>()
                    .join(", ");
                BadOption::property(option, "bus", name, "no such bus", names)
            })?,
        };
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
            // Behind a port there is one device, number 0; the port stands for its slot.
            intx: root
                .then(|| self.lines.pin(location.slot.device()))
                .flatten(),
            ioeventfds: doorbells.map(|doorbells| Arc::clone(doorbells) as _),
        }
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
    ) -> Result<(), BadOption> {
        let bad = |error: &dyn std::fmt::Display| {
            let slot = location.slot.to_string();
            BadOption::property(option, "addr", &slot, error, "a free slot of pcie.0")
        };
        let number = self.buses();
        if number >= layout::MOST_BUSES || location.bus != BusId::ROOT {
            return Err(bad(&"no root port can be here"));
        }
        let port = RootPort::new(RootPortConfig::new(number)).map_err(|error| bad(&error))?;
        let bus = self.root.attach_port(location.slot, Arc::new(port));
        self.ports
            .insert(id.to_owned(), bus.map_err(|error| bad(&error))?);
        Ok(())
    }

    /// Makes everything reachable from `bus`. Called once, when all ports are there.
    ///
    /// # Errors
    /// Ranges that something else has taken.
    pub fn register(&self, bus: &mut IoManager) -> Result<(), Error> {
        let ecam = Some((layout::ECAM_BASE, self.buses()));
        self.root.register(bus, ecam).map_err(refused)
    }

    /// Resets all functions and does what firmware would have done: numbers buses, places BARs.
    ///
    /// # Errors
    /// BARs for which there is no room.
    pub fn reset(&self) -> Result<(), Error> {
        self.root.reset();
        self.root.assign_bars().map_err(refused)
    }
}

fn refused(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Host("cannot set up PCI", io::Error::other(error))
}

/// QEMU's name of the root bus of a q35 machine.
const ROOT_BUS: &str = "pcie.0";
