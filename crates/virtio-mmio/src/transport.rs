//! The register window of a device (section 4.2.2).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use virtio_bus::{Core, Kicks, Parts, Runner};
use virtio_device::{AddressSpace, ConfigCell, DeviceId, DynDevice, Features, Result};
use vm_device::DeviceMmio;
use vm_device::bus::{MmioAddress, MmioAddressOffset};

use crate::bus::MmioBus;
use crate::register::{self, Direction, Register};
use crate::selected::Selected;
use crate::{MmioProps, MmioSlot, MmioState};

/// A device and what it needs, apart from its transport.
pub struct MmioParts<AS: AddressSpace> {
    /// The device.
    pub device: Box<dyn DynDevice<AS>>,
    /// Where its workers run.
    pub runner: Arc<dyn Runner<AS>>,
    /// Guest memory as the device sees it.
    pub memory: AS,
    /// Device-independent features to offer; see [`VirtioProps`](virtio_bus::VirtioProps).
    pub features: Features,
}

/// A virtio device on MMIO.
///
/// Register it for [`MmioSlot::SIZE`] bytes at its slot's address, as a [`DeviceMmio`]. Control
/// registers take 32-bit accesses, aligned; the configuration space takes any. What the driver may
/// not do reads as 0 and is not written (0xff past the end of the configuration space).
///
/// All methods take `&self` and may be called from any thread.
pub struct MmioTransport<AS: AddressSpace> {
    bus: Arc<MmioBus>,
    kicks: Arc<Kicks>,
    config: Arc<ConfigCell>,
    id: DeviceId,
    legacy: bool,
    selected: Mutex<Selected<AS>>,
}

impl<AS: AddressSpace> MmioTransport<AS> {
    /// Plugs a device into `slot`.
    ///
    /// # Errors
    /// As [`Core::new`].
    pub fn new(slot: MmioSlot, props: &MmioProps, parts: MmioParts<AS>) -> Result<Self> {
        let MmioParts {
            device,
            runner,
            memory,
            features,
        } = parts;
        let (bus, legacy) = (Arc::new(MmioBus::new(slot, props)), props.force_legacy);
        let core = Core::new(Parts {
            device,
            runner,
            memory,
            bus: bus.clone(),
            features,
        })?;
        Ok(Self {
            bus,
            kicks: core.kicks().clone(),
            config: core.config().clone(),
            id: core.id(),
            legacy,
            selected: Mutex::new(Selected::new(core, legacy)),
        })
    }

    /// Virtio device ID.
    pub fn id(&self) -> DeviceId {
        self.id
    }

    /// Resets the device as at power-on. Waits until what is in flight is drained.
    pub fn reset(&self) {
        let mut selected = self.lock();
        selected.hard_reset();
        self.bus.interrupt.set_status(0);
    }

    /// See [`Core::pause`].
    pub fn pause(&self) {
        self.lock().core.pause();
    }

    /// See [`Core::resume`].
    pub fn resume(&self) {
        self.lock().core.resume();
    }

    /// State of a device that is paused or not running.
    ///
    /// # Errors
    /// As [`Core::save`].
    pub fn save(&self) -> Result<MmioState> {
        let selected = self.lock();
        selected.save(self.bus.interrupt.status())
    }

    /// Takes over a saved state, into a device in its reset state; then [`resume`](Self::resume).
    ///
    /// # Errors
    /// As [`Core::restore`]; the device is then as it was.
    pub fn restore(&self, state: &MmioState) -> Result<()> {
        let mut selected = self.lock();
        selected.restore(state)?;
        self.bus.interrupt.set_status(state.interrupt_status);
        Ok(())
    }

    fn read(&self, register: Register) -> u32 {
        match register {
            Register::MagicValue => register::MAGIC,
            Register::Version if self.legacy => 1,
            Register::Version => 2,
            Register::DeviceId => self.id.0.into(),
            Register::VendorId => register::VENDOR,
            Register::InterruptStatus => self.bus.interrupt.status(),
            Register::ConfigGeneration => self.config.generation(),
            // Length -1: there is no such region.
            Register::SharedMemory => u32::MAX,
            _ => self.lock().read(register),
        }
    }

    fn write(&self, register: Register, value: u32) {
        match register {
            Register::QueueNotify => self.kicks.notify(value),
            Register::InterruptAck => self.bus.interrupt.acknowledge(value),
            Register::Status if value as u8 == 0 => {
                let mut selected = self.lock();
                selected.reset();
                self.bus.interrupt.set_status(0);
            }
            _ => self.lock().write(register, value),
        }
    }

    /// A panic elsewhere in the VMM has left the registers as consistent as any guest could.
    fn lock(&self) -> MutexGuard<'_, Selected<AS>> {
        self.selected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<AS: AddressSpace> DeviceMmio for MmioTransport<AS> {
    fn mmio_read(&self, _: MmioAddress, offset: MmioAddressOffset, data: &mut [u8]) {
        if let Some(offset) = offset.checked_sub(register::CONFIG) {
            self.config.read(offset, data);
            return;
        }
        let register = register::at(offset, data.len(), self.legacy, Direction::Read);
        let value = register.map_or(0, |register| self.read(register));
        data.fill(0);
        data.iter_mut()
            .zip(value.to_le_bytes())
            .for_each(|(to, from)| *to = from);
    }

    fn mmio_write(&self, _: MmioAddress, offset: MmioAddressOffset, data: &[u8]) {
        if let Some(offset) = offset.checked_sub(register::CONFIG) {
            self.lock().core.write_config(offset, data);
            return;
        }
        let register = register::at(offset, data.len(), self.legacy, Direction::Write);
        if let (Some(register), Ok(value)) = (register, data.try_into()) {
            self.write(register, u32::from_le_bytes(value));
        }
    }
}
