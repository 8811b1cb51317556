//! The drivers' `Transport` on a virtio-mmio window.

use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{Error, PAGE_SIZE, PhysAddr, Result};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::Window;

/// Does what `virtio_drivers::transport::mmio::MmioTransport` does, on a [`Window`].
pub struct MmioDriver {
    window: Window,
    device_type: DeviceType,
    legacy: bool,
}

impl MmioDriver {
    /// Probes the window.
    ///
    /// # Panics
    /// Where there is no device in it.
    pub fn new(window: Window) -> Self {
        assert_eq!(window.read::<u32>(0), 0x7472_6976, "MagicValue");
        let device_type = DeviceType::try_from(window.read::<u32>(8)).expect("DeviceID");
        let legacy = match window.read::<u32>(4) {
            1 => true,
            2 => false,
            version => panic!("Version {version}"),
        };
        Self {
            window,
            device_type,
            legacy,
        }
    }

    fn write(&self, registers: &[(u64, u32)]) {
        for &(offset, value) in registers {
            self.window.write(offset, value);
        }
    }

    fn in_config<T>(&self, offset: usize) -> Result<u64> {
        let start = CONFIG + offset as u64;
        match start + size_of::<T>() as u64 <= self.window.len() {
            true => Ok(start),
            false => Err(Error::ConfigSpaceTooSmall),
        }
    }
}

impl Transport for MmioDriver {
    fn device_type(&self) -> DeviceType {
        self.device_type
    }

    fn read_device_features(&mut self) -> u64 {
        self.write(&[(DEVICE_FEATURES_SEL, 0)]);
        let low: u32 = self.window.read(DEVICE_FEATURES);
        self.write(&[(DEVICE_FEATURES_SEL, 1)]);
        let high: u32 = self.window.read(DEVICE_FEATURES);
        u64::from(high) << 32 | u64::from(low)
    }

    fn write_driver_features(&mut self, features: u64) {
        self.write(&[
            (DRIVER_FEATURES_SEL, 0),
            (DRIVER_FEATURES, features as u32),
            (DRIVER_FEATURES_SEL, 1),
            (DRIVER_FEATURES, (features >> 32) as u32),
        ]);
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.write(&[(QUEUE_SEL, queue.into())]);
        self.window.read(QUEUE_SIZE_MAX)
    }

    fn notify(&mut self, queue: u16) {
        self.write(&[(QUEUE_NOTIFY, queue.into())]);
    }

    fn get_status(&self) -> DeviceStatus {
        DeviceStatus::from_bits_retain(self.window.read(STATUS))
    }

    fn set_status(&mut self, status: DeviceStatus) {
        self.write(&[(STATUS, status.bits())]);
    }

    fn set_guest_page_size(&mut self, size: u32) {
        if self.legacy {
            self.write(&[(GUEST_PAGE_SIZE, size)]);
        }
    }

    fn requires_legacy_layout(&self) -> bool {
        self.legacy
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver_area: PhysAddr,
        device_area: PhysAddr,
    ) {
        self.write(&[(QUEUE_SEL, queue.into()), (QUEUE_SIZE, size)]);
        if self.legacy {
            let pfn = u32::try_from(descriptors / PAGE_SIZE as u64).expect("32 bits");
            self.write(&[(QUEUE_ALIGN, PAGE_SIZE as u32), (QUEUE_PFN, pfn)]);
            return;
        }
        for (offset, area) in AREAS
            .into_iter()
            .zip([descriptors, driver_area, device_area])
        {
            self.write(&[(offset, area as u32), (offset + 4, (area >> 32) as u32)]);
        }
        self.write(&[(QUEUE_READY, 1)]);
    }

    fn queue_unset(&mut self, queue: u16) {
        self.write(&[(QUEUE_SEL, queue.into())]);
        if self.legacy {
            self.write(&[(QUEUE_SIZE, 0), (QUEUE_ALIGN, 0), (QUEUE_PFN, 0)]);
            return;
        }
        self.write(&[(QUEUE_READY, 0)]);
        while self.window.read::<u32>(QUEUE_READY) != 0 {}
        self.write(&[(QUEUE_SIZE, 0)]);
        for offset in AREAS {
            self.write(&[(offset, 0), (offset + 4, 0)]);
        }
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        self.write(&[(QUEUE_SEL, queue.into())]);
        let register = if self.legacy { QUEUE_PFN } else { QUEUE_READY };
        self.window.read::<u32>(register) != 0
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        let status = self.window.read(INTERRUPT_STATUS);
        if status != 0 {
            self.write(&[(INTERRUPT_ACK, status)]);
        }
        InterruptStatus::from_bits_truncate(status)
    }

    fn read_config_generation(&self) -> u32 {
        self.window.read(CONFIG_GENERATION)
    }

    fn read_config_space<T: FromBytes + IntoBytes>(&self, offset: usize) -> Result<T> {
        Ok(self.window.read(self.in_config::<T>(offset)?))
    }

    fn write_config_space<T: IntoBytes + Immutable>(
        &mut self,
        offset: usize,
        value: T,
    ) -> Result<()> {
        self.window.write(self.in_config::<T>(offset)?, value);
        Ok(())
    }
}

impl Drop for MmioDriver {
    fn drop(&mut self) {
        self.set_status(DeviceStatus::empty());
    }
}

const DEVICE_FEATURES: u64 = 0x010;
const DEVICE_FEATURES_SEL: u64 = 0x014;
const DRIVER_FEATURES: u64 = 0x020;
const DRIVER_FEATURES_SEL: u64 = 0x024;
const GUEST_PAGE_SIZE: u64 = 0x028;
const QUEUE_SEL: u64 = 0x030;
const QUEUE_SIZE_MAX: u64 = 0x034;
const QUEUE_SIZE: u64 = 0x038;
const QUEUE_ALIGN: u64 = 0x03c;
const QUEUE_PFN: u64 = 0x040;
const QUEUE_READY: u64 = 0x044;
const QUEUE_NOTIFY: u64 = 0x050;
const INTERRUPT_STATUS: u64 = 0x060;
const INTERRUPT_ACK: u64 = 0x064;
const STATUS: u64 = 0x070;
/// Low halves of descriptor, driver and device area; the high ones are 4 bytes on.
const AREAS: [u64; 3] = [0x080, 0x090, 0x0a0];
const CONFIG_GENERATION: u64 = 0x0fc;
const CONFIG: u64 = 0x100;
