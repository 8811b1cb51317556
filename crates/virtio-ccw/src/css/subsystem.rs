//! The channel subsystem: its subchannels, and what is attached to them.

use std::sync::Arc;

use virtio_device::AddressSpace;

use super::{ControlUnit, CssHost, DeviceNumber, Interruption, Isc, SubchannelId};

/// A channel subsystem.
///
/// A handle: clones are the same subsystem. All methods may be called from any thread; each
/// subchannel has a lock of its own, which is held for no longer than it takes to change its
/// status.
#[derive(Clone)]
pub struct ChannelSubsystem {
    host: Arc<dyn CssHost>,
}

/// Where to attach a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Subchannel set, 0 to 3.
    pub set: u8,
    /// Device number; the lowest free one by default.
    pub device: Option<DeviceNumber>,
    /// Subchannel number; the lowest free one by default.
    pub subchannel: Option<u16>,
}

/// A place that cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// There are four subchannel sets.
    #[error("no subchannel set {0}")]
    NoSet(u8),
    /// The device number is in use in that set.
    #[error("device number {0} is in use")]
    DeviceInUse(DeviceNumber),
    /// The subchannel is in use.
    #[error("subchannel {0} is in use")]
    SubchannelInUse(SubchannelId),
    /// All subchannels or device numbers of the set are in use.
    #[error("subchannel set {0} is full")]
    Full(u8),
}

impl ChannelSubsystem {
    /// A channel subsystem without devices. `memory` is absolute storage: where channel programs
    /// and their data are.
    pub fn new(memory: impl AddressSpace, host: Arc<dyn CssHost>) -> Self {
        let _ = memory;
        Self { host }
    }

    /// Takes a subchannel for a device, which is then [installed](Attachment::install). Until that
    /// the guest does not see it.
    ///
    /// # Errors
    /// Where the place is taken or does not exist.
    pub fn reserve(&self, place: Place) -> Result<Attachment, AttachError> {
        let _ = (place, SubchannelId::SETS);
        todo!()
    }

    /// From now on devices that come and go are reported to the guest by channel report words. A
    /// VMM calls it when the machine is put together.
    pub fn report_changes(&self) {
        todo!()
    }

    /// Puts every subchannel, and what the guest has set with CHSC, back to what it is after
    /// power-on, and tells all control units ([`Signal::Reset`](super::Signal::Reset)).
    pub fn reset(&self) {
        todo!()
    }

    /// The adapter interruption of subclass `isc`: the device has set its indicators.
    pub fn adapter_interrupt(&self, isc: Isc) {
        self.host.raise(Interruption::Adapter { isc });
    }
}

/// A device's connection to its subchannel.
///
/// Cheap to clone, and does not keep the channel subsystem alive: after
/// [`detach`](Self::detach), or without the subsystem, all methods do nothing.
#[derive(Clone)]
pub struct Attachment {
    id: SubchannelId,
    device: DeviceNumber,
}

impl Attachment {
    /// The subchannel.
    pub fn id(&self) -> SubchannelId {
        self.id
    }

    /// The device number.
    pub fn device(&self) -> DeviceNumber {
        self.device
    }

    /// Puts `unit` behind the subchannel: the guest can see it from now on, and is told so by a
    /// channel report word if [`ChannelSubsystem::report_changes`] was called.
    pub fn install(&self, unit: Arc<dyn ControlUnit>) {
        let _ = unit;
        todo!()
    }

    /// Takes the device away and frees its place. What was pending is dropped; the guest is told
    /// by a channel report word as in [`install`](Self::install).
    pub fn detach(&self) {
        todo!()
    }

    /// Unsolicited status: makes the subchannel status pending with alert status, if it is enabled
    /// and not status pending already (the driver will then see to the device anyway). While a
    /// program runs, its end is the alert. This is virtio's classic interrupt.
    pub fn alert(&self) {
        todo!()
    }

    /// As [`ChannelSubsystem::adapter_interrupt`].
    pub fn adapter_interrupt(&self, isc: Isc) {
        let _ = isc;
        todo!()
    }

    /// Whether the guest has enabled the subchannel.
    pub fn is_enabled(&self) -> bool {
        todo!()
    }
}
