//! Devices that come and go.

use std::time::Duration;

use vm_pci::{BusId, SlotPower};

use super::{Behind, Location, Pci};
use crate::hotplug::{HotplugError, PciHotplug};

impl Pci {
    /// Whether devices may come later to `bus`, or the root bus.
    ///
    /// # Errors
    /// A bus that does not exist, under the name of `option`, or whose devices stay.
    pub fn takes_later(&self, option: &str, bus: Option<&str>) -> Result<(), HotplugError> {
        let bus = self.bus_called(option, bus)?;
        match self.hotplug_of(bus)? {
            Hotplug::Port(id, behind) if !behind.hot_plug => Err(HotplugError::Plug(id.to_owned())),
            _ => Ok(()),
        }
    }

    /// Tells the guest that a device came to `place`. A root port has told it already.
    pub fn came(&self, place: Location) {
        if let Ok(Hotplug::Acpi(hotplug)) = self.hotplug_of(place.bus) {
            hotplug.came(place.slot);
        }
    }

    /// Asks the guest to let the device at `place` go. Returns for how long it is not to be asked
    /// again.
    ///
    /// # Errors
    /// A bus whose devices stay, or a guest that is busy with the slot.
    pub fn ask_to_leave(&self, place: Location) -> Result<Duration, HotplugError> {
        match self.hotplug_of(place.bus)? {
            Hotplug::Acpi(hotplug) => {
                hotplug.ask_to_leave(place.slot);
                Ok(Duration::ZERO)
            }
            Hotplug::Port(id, behind) if !behind.hot_plug => {
                Err(HotplugError::Unplug(id.to_owned()))
            }
            Hotplug::Port(_, behind) => match behind.port.slot_power() {
                SlotPower::Changing => Err(HotplugError::Busy),
                SlotPower::On => {
                    behind.port.press_attention_button();
                    Ok(ATTENTION)
                }
                // There is nothing that the guest would have to let go.
                SlotPower::Off => {
                    self.take_away(place);
                    Ok(ATTENTION)
                }
            },
        }
    }

    /// Takes the device at `place` away from a guest that is not running, or does not use it.
    pub fn take_away(&self, place: Location) {
        if self.root.detach(place.bus, place.slot.device()).is_ok() {
            self.departures.announce(place);
        }
    }

    /// What devices come to `bus` by, and leave it.
    fn hotplug_of(&self, bus: BusId) -> Result<Hotplug<'_>, HotplugError> {
        let port = self.ports.iter().find(|(_, behind)| behind.bus == bus);
        let port = port.map(|(id, behind)| Hotplug::Port(id, behind));
        let acpi = self.hotplug.as_deref().filter(|_| bus == BusId::ROOT);
        let found = port.or(acpi.map(Hotplug::Acpi));
        found.ok_or_else(|| {
            let root = self.chipset.map_or("", |chipset| chipset.bus);
            HotplugError::Bus(root.to_owned())
        })
    }
}

/// What devices of a bus come and go by.
enum Hotplug<'a> {
    /// The registers of the root bus.
    Acpi(&'a PciHotplug),
    /// The slot of the root port with this identifier.
    Port(&'a str, &'a Behind),
}

/// How long a guest waits after its attention button, before it believes it.
const ATTENTION: Duration = Duration::from_secs(5);
