//! Which functions there are, and which of their BARs the guest can reach through which bridge.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::address::{Bdf, IoAddr, IoRange, Slot};
use crate::bus::Bus;
use crate::error::BusError;
use crate::function::PciFunction;
use crate::root_port::RootPort;
use crate::routes::{Route, Routes};
use crate::window::Windows;

/// A bus of the complex, whatever number the guest gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BusId(pub(crate) usize);

impl BusId {
    /// The root bus, which always has number 0.
    pub const ROOT: Self = Self(0);
}

/// The root bus and the buses behind its ports. Replaced as a whole when a function comes or goes.
#[derive(Clone, Default)]
pub(crate) struct Topology {
    pub(crate) root: Bus,
    pub(crate) ports: Vec<Port>,
}

/// A root port with the bus behind it.
#[derive(Clone)]
pub(crate) struct Port {
    pub(crate) slot: Slot,
    pub(crate) port: Arc<RootPort>,
    pub(crate) bus: Bus,
}

impl Port {
    /// Number of the bus behind, by the registers.
    fn number(&self) -> Option<u8> {
        let buses = self.port.bridge_decode().buses?;
        Some(*buses.start())
    }
}

/// BARs that the guest reaches, and the function that each belongs to.
pub(crate) type Mapped = BTreeMap<(BusId, Slot, u8, IoRange), Arc<dyn PciFunction>>;

impl Topology {
    pub(crate) fn bus(&self, id: BusId) -> Result<&Bus, BusError> {
        let behind = |port: usize| self.ports.get(port).map(|port| &port.bus);
        id.0.checked_sub(1)
            .map_or(Some(&self.root), behind)
            .ok_or(BusError::NoBus)
    }

    pub(crate) fn bus_mut(&mut self, id: BusId) -> Result<&mut Bus, BusError> {
        match id.0.checked_sub(1) {
            None => Ok(&mut self.root),
            Some(port) => self
                .ports
                .get_mut(port)
                .map(|port| &mut port.bus)
                .ok_or(BusError::NoBus),
        }
    }

    /// Bus that has this number by the registers of the ports. Only a bus directly behind a port
    /// exists: other numbers in a port's range have nothing to answer.
    pub(crate) fn numbered(&self, number: u8) -> Option<&Bus> {
        if number == 0 {
            return Some(&self.root);
        }
        let starts = |port: &&Port| port.number() == Some(number);
        self.ports.iter().find(starts).map(|port| &port.bus)
    }

    /// Number that a bus has by the registers of its port.
    pub(crate) fn number(&self, id: BusId) -> Option<u8> {
        match id.0.checked_sub(1) {
            None => Some(0),
            Some(port) => self.ports.get(port)?.number(),
        }
    }

    /// The bus behind the bridge at `at`.
    pub(crate) fn behind(&self, at: Bdf) -> Option<(BusId, &Bus)> {
        let on_root = at.bus() == 0;
        let mut ports = self.ports.iter().enumerate();
        let (index, port) = ports.find(|(_, port)| on_root && port.slot == at.slot())?;
        Some((BusId(index + 1), &port.bus))
    }

    /// Every function with its place, a port before what is behind it.
    pub(crate) fn functions(&self) -> Vec<(BusId, Slot, Arc<dyn PciFunction>)> {
        let root = (BusId::ROOT, &self.root);
        let behind = self
            .ports
            .iter()
            .enumerate()
            .map(|(at, port)| (BusId(at + 1), &port.bus));
        let all = std::iter::once(root).chain(behind).flat_map(|(id, bus)| {
            bus.iter()
                .map(move |(slot, function)| (id, slot, Arc::clone(function)))
        });
        all.collect()
    }

    /// What is reachable: decoded, forwarded, inside a window, and not under an earlier BAR. The
    /// order is that of [`functions`](Self::functions), so a guest's overlap has one outcome.
    pub(crate) fn map(&self, windows: &Windows) -> (Mapped, Routes, Routes) {
        let (mut mapped, mut pio, mut mmio) = Default::default();
        for (id, slot, function) in self.functions() {
            let bridge = id.0.checked_sub(1).and_then(|at| self.ports.get(at));
            let bridge = bridge.map(|port| port.port.bridge_decode());
            for (bar, range) in function.decode().iter() {
                let forwarded = bridge.as_ref().is_none_or(|bridge| bridge.forwards(range));
                let route = Route {
                    range,
                    bar,
                    function: Arc::clone(&function),
                };
                let routes: &mut Routes = match range.start() {
                    IoAddr::Pio(_) => &mut pio,
                    IoAddr::Mmio(_) => &mut mmio,
                };
                if forwarded && windows.contain(range) && routes.insert(route) {
                    Mapped::insert(&mut mapped, (id, slot, bar, range), Arc::clone(&function));
                }
            }
        }
        (mapped, pio, mmio)
    }
}
