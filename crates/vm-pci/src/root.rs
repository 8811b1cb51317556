//! The root complex: buses, configuration accesses, and the windows in which BARs live.
//!
//! Three rules keep it simple under several vCPUs. Readers (configuration and BAR accesses) load a
//! snapshot and take no lock of the complex. One mutex serialises whatever changes what is mapped,
//! and computes it anew from the functions' registers. No lock of the complex is held while a
//! function handles an access or a reset.

use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use vm_device::bus::{Error as IoError, MmioAddress, MmioRange, PioAddress, PioRange};
use vm_device::device_manager::{IoManager, MmioManager, PioManager};

use crate::address::{Bdf, Slot};
use crate::bus::Bus;
use crate::config_access::{ConfigPorts, Ecam};
use crate::error::BusError;
use crate::function::{Effects, PciFunction};
use crate::lock;
use crate::root_port::RootPort;
use crate::routes::{Routes, SharedRoutes};
use crate::topology::{BusId, Mapped, Port, Topology};
use crate::window::{BarWindow, Windows};

/// The PCI hierarchy of one machine.
pub struct RootComplex {
    windows: Windows,
    topology: ArcSwap<Topology>,
    pio: SharedRoutes,
    mmio: SharedRoutes,
    mapped: Mutex<Mapped>,
    ejected: Box<dyn Fn(BusId) + Send + Sync>,
}

impl RootComplex {
    /// A complex whose root bus holds only `host_bridge`, at device 0.
    ///
    /// # Errors
    /// [`BusError::Window`] for a window that cannot be.
    pub fn new(windows: Windows, host_bridge: Arc<dyn PciFunction>) -> Result<Self, BusError> {
        windows.check()?;
        let mut topology = Topology::default();
        topology.root.attach(Slot::new(0, 0), host_bridge)?;
        Ok(Self {
            windows,
            topology: ArcSwap::from_pointee(topology),
            pio: Arc::new(ArcSwap::from_pointee(Routes::default())),
            mmio: Arc::new(ArcSwap::from_pointee(Routes::default())),
            mapped: Mutex::new(Mapped::default()),
            ejected: Box::new(|_| ()),
        })
    }

    /// The same, which calls `ejected` for a bus whose functions are out because the guest has turned
    /// their slot off. The call comes from whoever delivers the guest's access.
    #[must_use]
    pub fn on_eject(self, ejected: impl Fn(BusId) + Send + Sync + 'static) -> Self {
        let ejected = Box::new(ejected);
        Self { ejected, ..self }
    }

    /// Windows that BARs can be reached in.
    pub fn windows(&self) -> &Windows {
        &self.windows
    }

    /// Puts a function on a bus, at start or at run time.
    ///
    /// # Errors
    /// [`BusError`] where the slot is taken, does not exist on that bus, or its device has no function 0.
    pub fn attach(
        &self,
        bus: BusId,
        slot: Slot,
        function: Arc<dyn PciFunction>,
    ) -> Result<(), BusError> {
        if bus != BusId::ROOT && slot.device() != 0 {
            return Err(BusError::BehindPort(slot));
        }
        self.change(|topology| topology.bus_mut(bus)?.attach(slot, function))
    }

    /// Puts a root port on the root bus; the result names the bus behind it.
    ///
    /// # Errors
    /// As [`attach`](Self::attach).
    pub fn attach_port(&self, slot: Slot, port: Arc<RootPort>) -> Result<BusId, BusError> {
        self.change(|topology| {
            topology
                .root
                .attach(slot, Arc::clone(&port) as Arc<dyn PciFunction>)?;
            topology.ports.push(Port {
                slot,
                port,
                bus: Default::default(),
            });
            Ok(BusId(topology.ports.len()))
        })
    }

    /// Takes a device with all of its functions out, and tells each that its BARs are unreachable.
    /// Root ports and the host bridge stay where they are.
    ///
    /// Accesses that began before may still be running in the functions when this returns.
    ///
    /// # Errors
    /// [`BusError::Empty`] where there is nothing to take out, [`BusError::InUse`] for a device that stays.
    pub fn detach(&self, bus: BusId, device: u8) -> Result<Vec<Arc<dyn PciFunction>>, BusError> {
        let slot = Slot::new(device, 0);
        self.change(|topology| {
            let port = topology
                .ports
                .iter()
                .any(|port| port.slot.device() == slot.device());
            if bus == BusId::ROOT && (port || slot.device() == 0) {
                return Err(BusError::InUse(slot));
            }
            let functions = topology.bus_mut(bus)?.detach(slot);
            if functions.is_empty() {
                Err(BusError::Empty(slot))
            } else {
                Ok(functions)
            }
        })
    }

    /// Lowest device number of a bus without a function.
    ///
    /// # Errors
    /// [`BusError::Full`], or [`BusError::NoBus`].
    pub fn free_device(&self, bus: BusId) -> Result<u8, BusError> {
        let device = self
            .topology
            .load()
            .bus(bus)?
            .free_device()
            .ok_or(BusError::Full)?;
        (bus == BusId::ROOT || device == 0)
            .then_some(device)
            .ok_or(BusError::Full)
    }

    /// Every function and where it sits, for lists and tables.
    pub fn functions(&self) -> Vec<(BusId, Slot, Arc<dyn PciFunction>)> {
        self.topology.load().functions()
    }

    /// Number that the guest has given `bus`, if it has.
    pub fn bus_number(&self, bus: BusId) -> Option<u8> {
        self.topology.load().number(bus)
    }

    /// Configuration read; a place without a function gives ones.
    pub fn read_config(&self, at: Bdf, offset: u16, data: &mut [u8]) {
        match self.topology.load().numbered(at.bus()) {
            Some(bus) => bus.read_config(at.slot(), offset, data),
            None => data.fill(0xff),
        }
    }

    /// Configuration write with all of its effects.
    pub fn write_config(&self, at: Bdf, offset: u16, data: &[u8]) {
        let topology = self.topology.load_full();
        let Some(bus) = topology.numbered(at.bus()) else {
            return;
        };
        let effects = bus.write_config(at.slot(), offset, data);
        if effects.reset
            && let Some(function) = bus.function(at.slot())
        {
            function.reset();
        }
        if let Some((id, behind)) = topology.behind(at) {
            self.apply_behind(effects, id, behind);
        }
        if effects != Effects::NONE {
            self.refresh();
        }
    }

    /// Looks at all BARs and bridges again. Only needed after registers changed past this complex,
    /// such as by a restored snapshot.
    pub fn refresh(&self) {
        self.remap(&mut lock(&self.mapped));
    }

    /// Resets every function, as a reset of the machine does.
    pub fn reset(&self) {
        self.functions()
            .iter()
            .for_each(|(_, _, function)| function.reset());
        self.refresh();
    }

    /// BARs in I/O space as a device of the VMM's port bus.
    pub fn pio_window(&self) -> Arc<BarWindow> {
        Arc::new(BarWindow::new(Arc::clone(&self.pio)))
    }

    /// BARs in memory space as a device of the VMM's memory bus, for all memory windows.
    pub fn mmio_window(&self) -> Arc<BarWindow> {
        Arc::new(BarWindow::new(Arc::clone(&self.mmio)))
    }

    /// Registers the windows, the ports 0xcf8 to 0xcff, and a memory-mapped configuration space with
    /// `ecam.1` buses at address `ecam.0`. A VMM that wants port 0xcf9, or fewer ways to configuration
    /// space, registers the parts itself.
    ///
    /// # Errors
    /// Those of [`IoManager`]: a range that is taken or cannot be.
    pub fn register(
        self: &Arc<Self>,
        io: &mut IoManager,
        ecam: Option<(u64, u8)>,
    ) -> Result<(), IoError> {
        self.register_windows(io)?;
        self.register_ports(io)?;
        match ecam {
            Some((base, buses)) => self.register_ecam(io, base, buses),
            None => Ok(()),
        }
    }

    /// Registers the ports 0xcf8 to 0xcff only, without reset control (see
    /// [`ConfigPorts::with_reset`]).
    ///
    /// # Errors
    /// As [`register`](Self::register).
    pub fn register_ports(self: &Arc<Self>, io: &mut IoManager) -> Result<(), IoError> {
        let range = PioRange::new(PioAddress(ConfigPorts::BASE), ConfigPorts::SIZE)?;
        io.register_pio(range, Arc::new(ConfigPorts::new(Arc::clone(self))))
    }

    /// Registers only a memory-mapped configuration space with `buses` buses at address `base`.
    ///
    /// # Errors
    /// As [`register`](Self::register).
    pub fn register_ecam(
        self: &Arc<Self>,
        io: &mut IoManager,
        base: u64,
        buses: u8,
    ) -> Result<(), IoError> {
        let size = u64::from(buses) << Ecam::BUS_SHIFT;
        let range = MmioRange::new(MmioAddress(base), size)?;
        io.register_mmio(range, Arc::new(Ecam::new(Arc::clone(self))))
    }

    /// Registers the windows only.
    ///
    /// # Errors
    /// Those of [`IoManager`]: a range that is taken or cannot be.
    pub fn register_windows(&self, io: &mut IoManager) -> Result<(), IoError> {
        if let Some(window) = &self.windows.pio {
            let size = window.end() - window.start() + 1;
            io.register_pio(
                PioRange::new(PioAddress(*window.start()), size)?,
                self.pio_window(),
            )?;
        }
        for window in [&self.windows.mmio32, &self.windows.mmio64]
            .into_iter()
            .flatten()
        {
            let range = MmioRange::new(
                MmioAddress(*window.start()),
                window.end() - window.start() + 1,
            )?;
            io.register_mmio(range, self.mmio_window())?;
        }
        Ok(())
    }

    fn apply_behind(&self, effects: Effects, id: BusId, behind: &Bus) {
        if effects.secondary_reset {
            behind.iter().for_each(|(_, function)| function.reset());
        }
        // Somebody else may have taken it out meanwhile.
        if effects.eject && self.detach(id, 0).is_ok() {
            (self.ejected)(id);
        }
    }

    pub(crate) fn topology(&self) -> Arc<Topology> {
        self.topology.load_full()
    }

    /// Replaces the topology and lets everything follow.
    fn change<T>(
        &self,
        work: impl FnOnce(&mut Topology) -> Result<T, BusError>,
    ) -> Result<T, BusError> {
        let mut mapped = lock(&self.mapped);
        let mut topology = Topology::clone(&self.topology.load());
        let result = work(&mut topology)?;
        self.topology.store(Arc::new(topology));
        self.remap(&mut mapped);
        // A guest that hears of it finds what it is told.
        for port in &self.topology.load().ports {
            port.port.set_present(!port.bus.is_empty());
        }
        Ok(result)
    }

    /// Computes what is mapped, switches the routes, and tells functions about the difference.
    /// All that lost a place hear of it before one that gained it: two may have swapped.
    fn remap(&self, mapped: &mut Mapped) {
        let (new, pio, mmio) = self.topology.load().map(&self.windows);
        self.pio.store(Arc::new(pio));
        self.mmio.store(Arc::new(mmio));
        let old = std::mem::replace(mapped, new);
        for ((_, _, bar, _), function) in old.iter().filter(|(key, _)| !mapped.contains_key(key)) {
            function.bar_mapped(*bar, None);
        }
        for ((_, _, bar, range), function) in
            mapped.iter().filter(|(key, _)| !old.contains_key(key))
        {
            function.bar_mapped(*bar, Some(range.start()));
        }
    }
}
