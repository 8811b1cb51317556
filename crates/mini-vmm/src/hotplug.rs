//! Devices that come and go while the machine runs.
//!
//! The registers are those of PCI hot-plug by ACPI (QEMU's docs/specs/acpi_pci_hotplug): a bit for
//! each slot of the root bus, set where a device came or is to leave, and written where the guest
//! lets one go.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use event_manager::{EventOps, EventSet, EventSubscriber, Events};
use vm_device::DevicePio;
use vm_device::bus::{PioAddress, PioAddressOffset};
use vm_pci::{BusId, RootComplex, Slot};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::event_device::{BoardEvent, EventDevice};
use crate::options::BadOption;
use crate::pci::Location;

/// Why a device cannot come or go, in QEMU's words, which programs know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HotplugError {
    /// The devices of a bus stay.
    #[error("Bus '{0}' does not support hotplugging")]
    Bus(String),
    /// No device can come to a port.
    #[error("Hot-plug failed: unsupported by the port device '{0}'")]
    Plug(String),
    /// The device of a port stays.
    #[error("Hot-unplug failed: unsupported by the port device '{0}'")]
    Unplug(String),
    /// The guest turns the slot on or off just now.
    #[error("Hot-unplug failed: guest is busy (power indicator blinking)")]
    Busy,
    /// There is no such bus.
    #[error(transparent)]
    Option(#[from] BadOption),
}

/// The registers of the root bus.
pub struct PciHotplug {
    root: Arc<RootComplex>,
    events: Arc<EventDevice>,
    departures: Arc<Departures>,
    slots: Mutex<Slots>,
}

/// A bit for each slot.
#[derive(Debug, Default)]
struct Slots {
    /// A device came, which the guest has not heard of.
    up: u32,
    /// The device is to leave.
    down: u32,
}

impl PciHotplug {
    /// Number of ports.
    pub const SIZE: u16 = 0x14;

    /// Registers that take devices off `root`; `events` has the guest read them.
    pub fn new(
        root: Arc<RootComplex>,
        events: Arc<EventDevice>,
        departures: Arc<Departures>,
    ) -> Self {
        Self {
            root,
            events,
            departures,
            slots: Mutex::default(),
        }
    }

    /// A device came to `slot`.
    pub fn came(&self, slot: Slot) {
        self.slots().up |= bit(slot.device());
        self.events.raise(BoardEvent::PciHotplug);
    }

    /// The device in `slot` is to leave.
    pub fn ask_to_leave(&self, slot: Slot) {
        self.slots().down |= bit(slot.device());
        self.events.raise(BoardEvent::PciHotplug);
    }

    /// Forgets what the guest has not answered.
    pub fn reset(&self) {
        *self.slots() = Slots::default();
    }

    /// The guest lets a device go. What is in flight there is waited for elsewhere.
    fn eject(&self, device: u8) {
        let mut slots = self.slots();
        slots.up &= !bit(device);
        slots.down &= !bit(device);
        drop(slots);
        if self.root.detach(BusId::ROOT, device).is_ok() {
            let slot = Slot::new(device, 0);
            self.departures.announce(Location::new(BusId::ROOT, slot));
        }
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DevicePio for PciHotplug {
    /// Reading which devices came acknowledges them.
    fn pio_read(&self, _: PioAddress, offset: PioAddressOffset, data: &mut [u8]) {
        let value = match offset {
            UP => std::mem::take(&mut self.slots().up),
            DOWN => self.slots().down,
            REMOVABLE => u32::MAX,
            // No features, and bus 0 selected, which is the only one.
            _ => 0,
        };
        data.fill(0);
        data.iter_mut()
            .zip(value.to_le_bytes())
            .for_each(|(to, from)| *to = from);
    }

    /// Writing which devices are to leave acknowledges them, which QEMU does not have. Without it
    /// every event would ask again for what the guest is about to let go; a guest that answers twice
    /// lets go of what has come in between.
    fn pio_write(&self, _: PioAddress, offset: PioAddressOffset, data: &[u8]) {
        let Ok(slots) = data.try_into().map(u32::from_le_bytes) else {
            return;
        };
        match offset {
            DOWN => self.slots().down &= !slots,
            EJECT => (0..SLOTS)
                .filter(|device| slots & bit(*device) != 0)
                .for_each(|device| self.eject(device)),
            _ => {}
        }
    }
}

/// Of a drive: its identifier, that of what is in it, and whether its tray is open now.
pub type TrayMove = (String, String, bool);

/// Places from which a device was taken by the guest, trays that have moved and ports that were opened,
/// on their way to the main thread.
#[derive(Debug)]
pub struct Departures {
    places: Mutex<Vec<Location>>,
    trays: Mutex<Vec<TrayMove>>,
    /// Whether a port is open in the guest now, by identifier.
    ports: Mutex<BTreeMap<String, bool>>,
    event: EventFd,
}

impl Departures {
    /// None yet.
    ///
    /// # Errors
    /// Where the host has no event to give.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            places: Mutex::default(),
            trays: Mutex::default(),
            ports: Mutex::default(),
            event: EventFd::new(EFD_NONBLOCK)?,
        })
    }

    /// The device at `place` is off its bus. There are no more of these than there were devices.
    pub fn announce(&self, place: Location) {
        self.places().push(place);
        self.wake();
    }

    /// Has the main thread look for what else is gone.
    pub fn wake(&self) {
        let _ = self.event.write(1);
    }

    /// A tray has moved. A guest that moves it over and over has some of that forgotten, but not where
    /// it is in the end.
    pub fn tray_moved(&self, id: String, device: String, open: bool) {
        let mut trays = self.trays();
        if trays.len() >= MOST_MOVES
            && let Some(first) = trays.iter().position(|(known, ..)| *known == id)
        {
            trays.remove(first);
        }
        trays.push((id, device, open));
        drop(trays);
        self.wake();
    }

    /// The guest has opened or closed the port `id`. Its last word counts.
    pub fn port_opened(&self, id: &str, open: bool) {
        self.ports().insert(id.to_owned(), open);
        self.wake();
    }

    /// Takes all ports that were opened or closed.
    pub fn take_ports(&self) -> BTreeMap<String, bool> {
        std::mem::take(&mut *self.ports())
    }

    /// Takes all moves of trays there are.
    pub fn take_trays(&self) -> Vec<TrayMove> {
        std::mem::take(&mut *self.trays())
    }

    /// Takes all places there are.
    pub fn take(&self) -> Vec<Location> {
        std::mem::take(&mut *self.places())
    }

    fn trays(&self) -> MutexGuard<'_, Vec<TrayMove>> {
        self.trays.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ports(&self) -> MutexGuard<'_, BTreeMap<String, bool>> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn places(&self) -> MutexGuard<'_, Vec<Location>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventSubscriber for Departures {
    fn init(&self, ops: &mut EventOps) {
        let _ = ops.add(Events::new(&self.event, EventSet::IN));
    }

    /// Wakes the main thread, which then takes them.
    fn process(&self, _: Events, _: &mut EventOps) {
        let _ = self.event.read();
    }
}

fn bit(device: u8) -> u32 {
    1u32.checked_shl(device.into()).unwrap_or(0)
}

const MOST_MOVES: usize = 64;
const UP: u16 = 0x0;
const DOWN: u16 = 0x4;
const EJECT: u16 = 0x8;
const REMOVABLE: u16 = 0xc;
const SLOTS: u8 = 32;

#[cfg(test)]
mod tests {
    use vm_pci::{HostBridge, Windows};

    use super::*;
    use crate::event_device::tests::Levels;

    fn bridge() -> Arc<HostBridge> {
        Arc::new(HostBridge::new(HostBridge::I440FX).unwrap())
    }

    fn registers() -> (PciHotplug, Arc<Departures>) {
        let root = RootComplex::new(Windows::default(), bridge()).unwrap();
        root.attach(BusId::ROOT, Slot::new(6, 0), bridge()).unwrap();
        let departures = Arc::new(Departures::new().unwrap());
        let events = EventDevice::new(Arc::new(Levels::default()));
        (
            PciHotplug::new(Arc::new(root), Arc::new(events), Arc::clone(&departures)),
            departures,
        )
    }

    fn read(registers: &PciHotplug, offset: u16) -> u32 {
        let mut data = [0; 4];
        registers.pio_read(PioAddress(0), offset, &mut data);
        u32::from_le_bytes(data)
    }

    fn eject(registers: &PciHotplug, slots: u32) {
        registers.pio_write(PioAddress(0), EJECT, &slots.to_le_bytes());
    }

    #[test]
    fn the_last_move_of_each_tray_is_kept() {
        let departures = Departures::new().unwrap();
        let say = |id: &str, open| departures.tray_moved(id.to_owned(), String::new(), open);
        say("cd0", true);
        (0..1000).for_each(|round| say("cd1", round % 2 == 0));
        let moves = departures.take_trays();
        assert_eq!(moves.len(), MOST_MOVES);
        assert_eq!((moves[0].0.as_str(), moves[0].2), ("cd0", true));
        assert!(!moves[MOST_MOVES - 1].2);
    }

    #[test]
    fn a_device_leaves_when_the_guest_lets_it_go() {
        let (registers, departures) = registers();
        registers.came(Slot::new(6, 0));
        assert_eq!((read(&registers, UP), read(&registers, UP)), (1 << 6, 0));
        assert!(registers.events.take() != 0, "the guest is told");
        registers.ask_to_leave(Slot::new(6, 0));
        assert_eq!(read(&registers, DOWN), 1 << 6);
        assert!(registers.events.take() != 0, "the guest is told");
        assert!(departures.take().is_empty());
        eject(&registers, 1 << 6);
        assert_eq!(read(&registers, DOWN), 0);
        let place = Location::new(BusId::ROOT, Slot::new(6, 0));
        assert_eq!(departures.take(), [place]);
        eject(&registers, 1 << 6);
        assert!(departures.take().is_empty(), "an empty slot");
    }

    #[test]
    fn a_request_is_told_until_it_is_acknowledged() {
        let (registers, departures) = registers();
        registers.ask_to_leave(Slot::new(6, 0));
        let acknowledge = |slots: u32| {
            registers.pio_write(PioAddress(0), DOWN, &slots.to_le_bytes());
        };
        acknowledge(1 << 5);
        assert_eq!(read(&registers, DOWN), 1 << 6);
        acknowledge(1 << 6);
        assert_eq!(read(&registers, DOWN), 0);
        assert!(departures.take().is_empty(), "it is not gone by that");
        registers.ask_to_leave(Slot::new(6, 0));
        assert_eq!(read(&registers, DOWN), 1 << 6, "asked again");
    }

    #[test]
    fn nothing_leaves_that_cannot() {
        let (registers, departures) = registers();
        eject(&registers, !(1 << 6));
        registers.pio_write(PioAddress(0), EJECT, &[1 << 6]);
        registers.pio_write(PioAddress(0), UP, &u32::MAX.to_le_bytes());
        assert!(departures.take().is_empty());
    }
}
