//! The registers that need the core, and the selectors in front of it.

use std::sync::Arc;

use virtio_bus::{Core, QueueRegs, Status};
use virtio_device::{AddressSpace, Features, IrqSource};

use crate::bus::PciBus;
use crate::common::Common;
use crate::doorbell::Via;
use crate::interfaces::LEGACY_ONLY;
use crate::interrupt::NO_VECTOR;
use crate::legacy::{self, Legacy};
use crate::register::Write;

/// The core of a device behind its selectors: what the transport keeps under its lock.
pub(crate) struct Registers<AS: AddressSpace> {
    pub(crate) core: Core<AS>,
    bus: Arc<PciBus>,
    pub(crate) selectors: Selectors,
}

/// What the driver selected. Any value can be: what is not there reads as 0 and is not written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selectors {
    pub(crate) device_feature: u32,
    pub(crate) driver_feature: u32,
    pub(crate) queue: u16,
}

impl<AS: AddressSpace> Registers<AS> {
    pub(crate) fn new(core: Core<AS>, bus: Arc<PciBus>) -> Self {
        let selectors = Selectors::default();
        Self {
            core,
            bus,
            selectors,
        }
    }

    pub(crate) fn read_common(&mut self, register: Common) -> u64 {
        let Selectors {
            device_feature,
            driver_feature,
            queue,
        } = self.selectors;
        match register {
            Common::DeviceFeatureSelect => device_feature.into(),
            Common::DeviceFeature => (self.core.offered() - LEGACY_ONLY)
                .page(device_feature)
                .into(),
            Common::DriverFeatureSelect => driver_feature.into(),
            Common::DriverFeature => self.core.driver_features().page(driver_feature).into(),
            Common::ConfigMsixVector => self.vector(IrqSource::Config),
            Common::NumQueues => self.core.queue_count().into(),
            Common::DeviceStatus => self.core.status().0.into(),
            Common::ConfigGeneration => self.core.config().generation().into(),
            Common::QueueSelect => queue.into(),
            Common::QueueSize => self.queue(|queue| queue.size.into()),
            Common::QueueMsixVector => self.vector(IrqSource::Queue(queue)),
            Common::QueueEnable => self.queue(|queue| queue.enabled.into()),
            Common::QueueNotifyOff => self.queue(|_| queue.into()),
            Common::QueueArea(which) => self.queue(|queue| queue.address(which)),
            Common::NotOffered => 0,
            Common::QueueReset => self.queue(|queue| queue.resetting.into()),
        }
    }

    pub(crate) fn write_common(&mut self, write: Write<Common>) {
        let Write {
            register,
            value,
            mask,
        } = write;
        let queue = self.selectors.queue;
        // Rows of the table are no wider than what their registers hold.
        match register {
            Common::DeviceFeatureSelect => self.selectors.device_feature = value as u32,
            Common::DriverFeatureSelect => self.selectors.driver_feature = value as u32,
            Common::DriverFeature => self
                .core
                .write_driver_features(self.selectors.driver_feature, value as u32),
            Common::ConfigMsixVector => self.set_vector(IrqSource::Config, value as u16),
            Common::DeviceStatus => self.write_status(Status(value as u8)),
            Common::QueueSelect => self.selectors.queue = value as u16,
            Common::QueueSize => self.core.set_queue_size(queue, value as u16),
            Common::QueueMsixVector => self.set_vector(IrqSource::Queue(queue), value as u16),
            Common::QueueEnable if value == 1 => self.enable_queue(queue),
            Common::QueueArea(which) => self.core.set_queue_address(queue, which, value, mask),
            Common::QueueReset if value == 1 => self.reset_queue(queue),
            _ => {}
        }
    }

    pub(crate) fn read_legacy(&mut self, register: Legacy) -> u64 {
        let queue = self.selectors.queue;
        match register {
            Legacy::DeviceFeatures => self.core.offered().page(0).into(),
            Legacy::DriverFeatures => self.core.driver_features().page(0).into(),
            Legacy::QueueAddress => self.queue(|queue| queue.descriptor / u64::from(legacy::PAGE)),
            Legacy::QueueSize => self.queue(|queue| queue.size.into()),
            Legacy::QueueSelect => queue.into(),
            Legacy::DeviceStatus => self.core.status().0.into(),
            Legacy::ConfigMsixVector => self.vector(IrqSource::Config),
            Legacy::QueueMsixVector => self.vector(IrqSource::Queue(queue)),
            Legacy::QueueNotify | Legacy::IsrStatus => u64::MAX,
        }
    }

    pub(crate) fn write_legacy(&mut self, write: Write<Legacy>) {
        let (register, value) = (write.register, write.value);
        let queue = self.selectors.queue;
        match register {
            Legacy::DriverFeatures => self.core.write_driver_features(0, value as u32),
            Legacy::QueueAddress => self.set_page(queue, value),
            Legacy::QueueSelect => self.selectors.queue = value as u16,
            // A legacy driver takes the reset for complete when the write returns.
            Legacy::DeviceStatus if value == 0 => self.reset(),
            Legacy::DeviceStatus => self.add_status(Status(value as u8)),
            Legacy::ConfigMsixVector => self.set_vector(IrqSource::Config, value as u16),
            Legacy::QueueMsixVector => self.set_vector(IrqSource::Queue(queue), value as u16),
            _ => {}
        }
    }

    /// Resets device and registers, and waits until what is in flight is drained.
    pub(crate) fn reset(&mut self) {
        self.begin_reset();
        self.core.wait_reset();
    }

    fn begin_reset(&mut self) {
        let Self {
            core,
            bus,
            selectors,
        } = self;
        core.write_status(Status::RESET);
        bus.interrupt.reset();
        bus.doorbells.reset();
        *selectors = Selectors::default();
    }

    /// The driver wrote device_status of the modern interface. It must have chosen VERSION_1, and
    /// nothing that only the other interface shows, before anything starts.
    fn write_status(&mut self, value: Status) {
        if value == Status::RESET {
            self.begin_reset();
            if self.bus.reset_waits {
                self.core.wait_reset();
            }
            return;
        }
        let features = self.core.driver_features();
        let modern = features.contains(Features::VERSION_1) && !features.intersects(LEGACY_ONLY);
        let mut value = value;
        if !self.core.status().contains(Status::FEATURES_OK) {
            if !modern {
                value = value.without(Status::FEATURES_OK);
            }
            if !value.contains(Status::FEATURES_OK) {
                value = value.without(Status::DRIVER_OK);
            }
        }
        self.add_status(value);
    }

    fn add_status(&mut self, value: Status) {
        if value == Status::RESET {
            return;
        }
        if value.contains(Status::DRIVER_OK) && !self.core.is_resetting() {
            self.bus.interrupt.open();
        }
        self.core.write_status(value);
    }

    fn enable_queue(&mut self, queue: u16) {
        self.core.enable_queue(queue);
        self.follow_queue(queue, Via::Modern);
    }

    fn reset_queue(&mut self, queue: u16) {
        if !self.core.driver_features().contains(Features::RING_RESET) {
            return;
        }
        self.core.reset_queue(queue);
        self.bus
            .interrupt
            .set_vector(IrqSource::Queue(queue), NO_VECTOR);
        self.bus.doorbells.set_queue(queue, None);
    }

    /// A legacy driver gave a queue its page. To take it from a running device, for which it is
    /// given 0, is to reset the device: the ring is the driver's again when the write returns.
    fn set_page(&mut self, queue: u16, page: u64) {
        if page == 0 && self.core.status().contains(Status::DRIVER_OK) {
            self.reset();
            return;
        }
        let address = page * u64::from(legacy::PAGE);
        self.core.set_legacy_queue(queue, address, legacy::PAGE);
        self.follow_queue(queue, Via::Legacy);
    }

    fn follow_queue(&mut self, queue: u16, via: Via) {
        let enabled = self.core.queue(queue).is_some_and(|queue| queue.enabled);
        self.bus.doorbells.set_queue(queue, enabled.then_some(via));
    }

    fn vector(&self, source: IrqSource) -> u64 {
        self.bus.interrupt.vector(source).into()
    }

    fn set_vector(&self, source: IrqSource, vector: u16) {
        self.bus.interrupt.set_vector(source, vector);
    }

    /// Reads from the registers of the selected queue; 0 where there is none.
    fn queue(&mut self, read: impl FnOnce(&QueueRegs) -> u64) -> u64 {
        self.core.queue(self.selectors.queue).map_or(0, read)
    }
}
