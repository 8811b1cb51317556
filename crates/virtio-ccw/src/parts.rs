//! What a VMM brings to a device on channel I/O.

use std::sync::Arc;

use virtio_bus::{IoEventFds, Runner};
use virtio_device::{AddressSpace, DynDevice, Features};

/// A device and what it needs, apart from its transport.
pub struct CcwParts<AS: AddressSpace> {
    /// The device.
    pub device: Box<dyn DynDevice<AS>>,
    /// Where its workers run.
    pub runner: Arc<dyn Runner<AS>>,
    /// Guest memory as the device sees it; indicators are in it as well.
    pub memory: AS,
    /// Device-independent features to offer; see [`VirtioProps`](virtio_bus::VirtioProps).
    pub features: Features,
    /// Turns notifications into events; without it, or with `ioeventfd=off`, each is a call of
    /// [`ChannelSubsystem::execute`](crate::css::ChannelSubsystem::execute).
    pub ioeventfds: Option<Arc<dyn IoEventFds>>,
}
