//! What a transport offers to the core.

use std::io;
use std::sync::Arc;

use virtio_device::{ByteOrder, Features, Interrupt};

use crate::Kicks;

/// A transport, as the core sees it (QEMU's `VirtioBusClass`, narrowed).
pub trait VirtioBus: Send + Sync {
    /// What the transport makes of an offer of features: it adds its own bits and takes away those
    /// that it cannot carry.
    fn features(&self, offer: Features) -> Features;

    /// Whether a driver may use the device as a legacy one, without VERSION_1 and FEATURES_OK, and
    /// its byte order then: that of its CPU.
    fn legacy(&self) -> Option<ByteOrder>;

    /// The way to the driver.
    fn interrupt(&self) -> Arc<dyn Interrupt>;

    /// The driver is ready: notifications may from now on go to the kick descriptors directly
    /// (ioeventfd).
    ///
    /// # Errors
    /// Where the host refuses. The transport then goes on to decode notifications itself.
    fn assign_kicks(&self, kicks: &Kicks) -> io::Result<()>;

    /// The device stops: undoes [`assign_kicks`](Self::assign_kicks).
    fn release_kicks(&self, kicks: &Kicks);
}

virtio_device::props! {
    /// Properties that every virtio device has, whatever its transport.
    pub struct VirtioProps {
        /// Offer indirect descriptors.
        "indirect_desc" => indirect_desc: bool = true,
        /// Offer used_event and avail_event, which save notifications.
        "event_idx" => event_idx: bool = true,
        /// Offer packed virtqueues.
        "packed" => packed: bool = false,
        /// Use buffers in the order in which they became available.
        "in_order" => in_order: bool = false,
        /// Offer that queues are reset one by one.
        "queue_reset" => queue_reset: bool = true,
        /// Offer legacy drivers any layout of a request.
        "any_layout" => any_layout: bool = true,
        /// Have drivers address buffers as the platform's IOMMU does, or the bus without one.
        "iommu_platform" => iommu_platform: bool = false,
    }
}

impl VirtioProps {
    /// The device-independent feature bits that these properties offer.
    pub fn features(&self) -> Features {
        let Self {
            indirect_desc,
            event_idx,
            packed,
            in_order,
            queue_reset,
            any_layout,
            iommu_platform,
        } = *self;
        Features::VERSION_1
            | Features::INDIRECT_DESC.when(indirect_desc)
            | Features::EVENT_IDX.when(event_idx)
            | Features::RING_PACKED.when(packed)
            | Features::IN_ORDER.when(in_order)
            | Features::RING_RESET.when(queue_reset)
            | Features::ANY_LAYOUT.when(any_layout)
            | Features::ACCESS_PLATFORM.when(iommu_platform)
    }
}
