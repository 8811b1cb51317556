//! The properties of QEMU's `virtio-scsi` devices.

use virtio_device::QueueSize;
use virtio_device::props::{PropError, ensure, refuse};

virtio_device::props! {
    /// Properties of a SCSI host device.
    pub struct ScsiProps {
        /// Number of request queues, 1 to 1024; 4294967295: as many as the machine has vCPUs.
        "num_queues" => num_queues: u32 = Self::AUTO_QUEUES,
        /// Descriptors of each queue: a power of two from 4 to 1024.
        "virtqueue_size" => virtqueue_size: u32 = 256,
        /// Let requests have as many segments as fit a queue, instead of 126.
        "seg_max_adjust" => seg_max_adjust: bool = true,
        /// Sectors of 512 bytes that a request should have at most.
        "max_sectors" => max_sectors: u32 = 0xffff,
        /// Commands that a logical unit should be sent at most at a time.
        "cmd_per_lun" => cmd_per_lun: u32 = 128,
        /// Tell the driver of units that come and go.
        "hotplug" => hotplug: bool = true,
        /// Tell the driver of units that change.
        "param_change" => param_change: bool = true,
    }
}

impl ScsiProps {
    /// The value of `num_queues` that stands for one queue for each vCPU. The VMM replaces it; a
    /// device that is made with it has one queue.
    pub const AUTO_QUEUES: u32 = u32::MAX;

    /// Checks what the types of the properties do not.
    ///
    /// # Errors
    /// [`PropError::Value`] for the first property that is out of range.
    pub fn check(&self) -> Result<(), PropError> {
        let queues = self.num_queues;
        let some = queues == Self::AUTO_QUEUES || (1..=1024).contains(&queues);
        ensure(some, "num_queues", queues, "1 to 1024, or 4294967295")?;
        let size = self.virtqueue_size;
        let fits = size.is_power_of_two() && (4..=1024).contains(&size);
        ensure(fits, "virtqueue_size", size, SIZES)
    }

    pub(crate) fn queues(&self) -> u16 {
        match self.num_queues {
            Self::AUTO_QUEUES => 1,
            queues => queues.min(1024) as u16,
        }
    }

    pub(crate) fn size(&self) -> Result<QueueSize, PropError> {
        let size = u16::try_from(self.virtqueue_size).ok();
        let size = size.and_then(|size| QueueSize::new(size).ok());
        size.ok_or_else(|| refuse("virtqueue_size", self.virtqueue_size, SIZES))
    }

    /// Segments of data of a request: the queue less header and answer.
    pub(crate) fn seg_max(&self) -> u32 {
        let size = match self.seg_max_adjust {
            true => self.virtqueue_size,
            false => self.virtqueue_size.min(128),
        };
        size.saturating_sub(2)
    }
}

const SIZES: &str = "a power of two from 4 to 1024";
