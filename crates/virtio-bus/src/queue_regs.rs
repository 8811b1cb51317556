//! The registers of one queue, as every transport shows them.

use virtio_device::{ByteOrder, Features, QueueError, QueueSize, RingArea, RingConfig};

/// The registers of one queue. Writable until the queue is enabled; the core sees to that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueRegs {
    /// Largest size that the device supports; what `size` is after reset.
    pub max_size: QueueSize,
    /// Size as the driver wrote it. Checked when the queue is enabled.
    pub size: u16,
    /// Guest addresses of descriptor, driver and device area.
    pub descriptor: u64,
    /// See [`descriptor`](Self::descriptor).
    pub driver: u64,
    /// See [`descriptor`](Self::descriptor).
    pub device: u64,
    /// The driver enabled the queue.
    pub enabled: bool,
    /// A reset of this queue is under way (VIRTIO_F_RING_RESET).
    pub resetting: bool,
}

impl QueueRegs {
    /// A queue of at most `max_size` descriptors, as after reset.
    pub fn new(max_size: QueueSize) -> Self {
        Self {
            max_size,
            size: max_size.get(),
            descriptor: 0,
            driver: 0,
            device: 0,
            enabled: false,
            resetting: false,
        }
    }

    /// The address register of an area.
    pub fn address(&self, area: RingArea) -> u64 {
        match area {
            RingArea::Descriptor => self.descriptor,
            RingArea::Driver => self.driver,
            RingArea::Device => self.device,
        }
    }

    pub(crate) fn address_mut(&mut self, area: RingArea) -> &mut u64 {
        match area {
            RingArea::Descriptor => &mut self.descriptor,
            RingArea::Driver => &mut self.driver,
            RingArea::Device => &mut self.device,
        }
    }

    /// What the driver has set up, if the device can work with it.
    pub(crate) fn ring_config(
        &self,
        features: Features,
        order: ByteOrder,
    ) -> Result<RingConfig, QueueError> {
        let Self {
            size,
            descriptor,
            driver,
            device,
            ..
        } = *self;
        if size > self.max_size.get() {
            return Err(QueueError::Size(size));
        }
        let size = QueueSize::new(size)?;
        let config = RingConfig {
            size,
            descriptor,
            driver,
            device,
            features,
            order,
        };
        config.check().map(|()| config)
    }
}
