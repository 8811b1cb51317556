//! The drivers' `Transport` on a virtio-pci function, and their way to configuration space.

use std::sync::Arc;

use virtio_drivers::transport::pci::bus::{
    Cam, Command, ConfigurationAccess, DeviceFunction, PciRoot,
};
use virtio_drivers::transport::pci::virtio_device_type;
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{Error, PhysAddr, Result};
use vm_device::DeviceMmio;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::Window;

/// Configuration space through an ECAM window.
pub struct EcamAccess(pub Window);

/// Does what `virtio_drivers::transport::pci::PciTransport` does, on [`Window`]s into BARs.
pub struct PciDriver {
    device_type: DeviceType,
    common: Window,
    notify: Window,
    notify_off_multiplier: u32,
    isr: Window,
    config: Option<Window>,
}

/// Guest addresses that BARs may have, all of them served by one device.
#[derive(Clone)]
pub struct BarSpace {
    /// Decodes addresses to BARs.
    pub device: Arc<dyn DeviceMmio + Send + Sync>,
    /// First address.
    pub base: u64,
}

impl PciDriver {
    /// Finds the first virtio function on the root bus or behind its first port, and the structures
    /// that its capabilities name.
    ///
    /// # Panics
    /// Where there is none, or a structure is missing.
    pub fn new(root: &mut PciRoot<EcamAccess>, access: &EcamAccess, space: &BarSpace) -> Self {
        let on = Command::MEMORY_SPACE | Command::BUS_MASTER;
        let bridges: Vec<_> = root.enumerate_bus(0).collect();
        let ports = bridges.iter().filter(|(_, info)| info.class == BRIDGE);
        ports.for_each(|(port, _)| root.set_command(*port, on));
        let (function, device_type) = (0..=1)
            .flat_map(|bus| root.enumerate_bus(bus))
            .find_map(|(function, info)| Some((function, virtio_device_type(&info)?)))
            .expect("a virtio function");
        root.set_command(function, on);
        let structures: Vec<_> = root
            .capabilities(function)
            .filter(|capability| capability.id == VENDOR_SPECIFIC)
            .map(|capability| Structure::read(access, function, capability.offset))
            .collect();
        let mut window = |kind| {
            let found = structures.iter().find(|s| s.kind == kind)?;
            Some((found.window(root, function, space), found.multiplier))
        };
        let (notify, notify_off_multiplier) = window(NOTIFY).expect("notify structure");
        Self {
            device_type,
            common: window(COMMON).expect("common structure").0,
            notify,
            notify_off_multiplier,
            isr: window(ISR).expect("ISR structure").0,
            config: window(DEVICE).map(|(config, _)| config),
        }
    }

    fn in_config<T>(&self, offset: usize) -> Result<&Window> {
        let config = self.config.as_ref().ok_or(Error::ConfigSpaceMissing)?;
        match offset as u64 + size_of::<T>() as u64 <= config.len() {
            true => Ok(config),
            false => Err(Error::ConfigSpaceTooSmall),
        }
    }
}

/// What a virtio capability says (section 4.1.4).
struct Structure {
    kind: u8,
    bar: u8,
    offset: u32,
    length: u32,
    /// Of the notify structure.
    multiplier: u32,
}

impl Structure {
    fn read(access: &EcamAccess, function: DeviceFunction, at: u8) -> Self {
        let word = |offset| access.read_word(function, at + offset);
        let kind = (word(0) >> 24) as u8;
        Self {
            kind,
            bar: word(4) as u8,
            offset: word(8),
            length: word(12),
            multiplier: if kind == NOTIFY { word(16) } else { 0 },
        }
    }

    fn window(
        &self,
        root: &mut PciRoot<EcamAccess>,
        function: DeviceFunction,
        space: &BarSpace,
    ) -> Window {
        let bar = root.bar_info(function, self.bar).expect("BAR type");
        let memory = bar.and_then(|bar| bar.memory_address_size());
        let (address, size) = memory.expect("a memory BAR");
        assert!(u64::from(self.offset) + u64::from(self.length) <= size);
        let start = address - space.base + u64::from(self.offset);
        Window::new(space.device.clone(), space.base, start, self.length.into())
    }
}

impl ConfigurationAccess for EcamAccess {
    fn read_word(&self, function: DeviceFunction, offset: u8) -> u32 {
        self.0.read(Cam::Ecam.cam_offset(function, offset).into())
    }

    fn write_word(&mut self, function: DeviceFunction, offset: u8, data: u32) {
        self.0
            .write(Cam::Ecam.cam_offset(function, offset).into(), data);
    }

    unsafe fn unsafe_clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl Transport for PciDriver {
    fn device_type(&self) -> DeviceType {
        self.device_type
    }

    fn read_device_features(&mut self) -> u64 {
        self.common.write(DEVICE_FEATURE_SELECT, 0u32);
        let low: u32 = self.common.read(DEVICE_FEATURE);
        self.common.write(DEVICE_FEATURE_SELECT, 1u32);
        let high: u32 = self.common.read(DEVICE_FEATURE);
        u64::from(high) << 32 | u64::from(low)
    }

    fn write_driver_features(&mut self, features: u64) {
        self.common.write(DRIVER_FEATURE_SELECT, 0u32);
        self.common.write(DRIVER_FEATURE, features as u32);
        self.common.write(DRIVER_FEATURE_SELECT, 1u32);
        self.common.write(DRIVER_FEATURE, (features >> 32) as u32);
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.common.write(QUEUE_SELECT, queue);
        self.common.read::<u16>(QUEUE_SIZE).into()
    }

    fn notify(&mut self, queue: u16) {
        self.common.write(QUEUE_SELECT, queue);
        let index: u16 = self.common.read(QUEUE_NOTIFY_OFF);
        let offset = u64::from(index) * u64::from(self.notify_off_multiplier);
        self.notify.write(offset, queue);
    }

    fn get_status(&self) -> DeviceStatus {
        DeviceStatus::from_bits_truncate(self.common.read::<u8>(DEVICE_STATUS).into())
    }

    fn set_status(&mut self, status: DeviceStatus) {
        self.common.write(DEVICE_STATUS, status.bits() as u8);
    }

    fn set_guest_page_size(&mut self, _: u32) {}

    fn requires_legacy_layout(&self) -> bool {
        false
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver_area: PhysAddr,
        device_area: PhysAddr,
    ) {
        self.common.write(QUEUE_SELECT, queue);
        self.common.write(QUEUE_SIZE, size as u16);
        self.common.write(QUEUE_DESC, descriptors);
        self.common.write(QUEUE_DRIVER, driver_area);
        self.common.write(QUEUE_DEVICE, device_area);
        self.common.write(QUEUE_ENABLE, 1u16);
    }

    fn queue_unset(&mut self, _: u16) {}

    fn queue_used(&mut self, queue: u16) -> bool {
        self.common.write(QUEUE_SELECT, queue);
        self.common.read::<u16>(QUEUE_ENABLE) == 1
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        InterruptStatus::from_bits_retain(self.isr.read::<u8>(0).into())
    }

    fn read_config_generation(&self) -> u32 {
        self.common.read::<u8>(CONFIG_GENERATION).into()
    }

    fn read_config_space<T: FromBytes + IntoBytes>(&self, offset: usize) -> Result<T> {
        Ok(self.in_config::<T>(offset)?.read(offset as u64))
    }

    fn write_config_space<T: IntoBytes + Immutable>(
        &mut self,
        offset: usize,
        value: T,
    ) -> Result<()> {
        self.in_config::<T>(offset)?.write(offset as u64, value);
        Ok(())
    }
}

impl Drop for PciDriver {
    fn drop(&mut self) {
        self.set_status(DeviceStatus::empty());
        while self.get_status() != DeviceStatus::empty() {
            std::hint::spin_loop();
        }
    }
}

/// Class of bridges.
const BRIDGE: u8 = 6;
/// Capability of virtio structures.
const VENDOR_SPECIFIC: u8 = 9;
/// Structure types (section 4.1.4).
const COMMON: u8 = 1;
const NOTIFY: u8 = 2;
const ISR: u8 = 3;
const DEVICE: u8 = 4;
/// Fields of the common structure (section 4.1.4.3).
const DEVICE_FEATURE_SELECT: u64 = 0x00;
const DEVICE_FEATURE: u64 = 0x04;
const DRIVER_FEATURE_SELECT: u64 = 0x08;
const DRIVER_FEATURE: u64 = 0x0c;
const DEVICE_STATUS: u64 = 0x14;
const CONFIG_GENERATION: u64 = 0x15;
const QUEUE_SELECT: u64 = 0x16;
const QUEUE_SIZE: u64 = 0x18;
const QUEUE_ENABLE: u64 = 0x1c;
const QUEUE_NOTIFY_OFF: u64 = 0x1e;
const QUEUE_DESC: u64 = 0x20;
const QUEUE_DRIVER: u64 = 0x28;
const QUEUE_DEVICE: u64 = 0x30;
