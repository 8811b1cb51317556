//! The device's end of a subchannel.

use std::sync::Arc;

use super::channel::Channel;
use super::link::Link;
use super::subchannel::Subchannel;
use super::subsystem::Shared;
use super::{ControlUnit, DeviceNumber, Interruption, Isc, SubchannelId};

/// A device's connection to its subchannel.
///
/// Cheap to clone, and does not keep the channel subsystem alive: after
/// [`detach`](Self::detach), or without the subsystem, all methods do nothing.
#[derive(Clone)]
pub struct Attachment {
    id: SubchannelId,
    device: DeviceNumber,
    link: Link,
}

impl Attachment {
    pub(super) fn new(shared: &Arc<Shared>, subchannel: &Arc<Subchannel>) -> Self {
        Self {
            id: subchannel.id,
            device: subchannel.device,
            link: Link::new(shared, subchannel),
        }
    }

    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// The subchannel.
    pub fn id(&self) -> SubchannelId {
        self.id
    }

    /// The device number.
    pub fn device(&self) -> DeviceNumber {
        self.device
    }

    /// Puts `unit` behind the subchannel: the guest can see it from now on, and is told so by a
    /// channel report word if
    /// [`ChannelSubsystem::report_changes`](super::ChannelSubsystem::report_changes) was called.
    pub fn install(&self, unit: Arc<dyn ControlUnit>) {
        self.link.with(|channel| {
            let before = channel.update(|state| state.unit.replace(unit));
            drop(before);
            channel.shared.report(self.id);
        });
    }

    /// Takes the device away and frees its place. What was pending is dropped; the guest is told
    /// by a channel report word as in [`install`](Self::install).
    pub fn detach(&self) {
        self.link.with(|channel| {
            let unit = channel.update(|state| {
                state.reset();
                state.unit.take()
            });
            channel.shared.release(&channel.subchannel);
            if unit.is_some() {
                channel.shared.report(self.id);
            }
        });
    }

    /// Unsolicited status: makes the subchannel status pending with alert status, if it is enabled
    /// and not status pending already (the driver will then see to the device anyway). While a
    /// program runs, its end is the alert. This is virtio's classic interrupt.
    pub fn alert(&self) {
        self.link.with(Channel::alert);
    }

    /// As [`ChannelSubsystem::adapter_interrupt`](super::ChannelSubsystem::adapter_interrupt).
    pub fn adapter_interrupt(&self, isc: Isc) {
        self.link
            .with(|channel| channel.shared.host.raise(Interruption::Adapter { isc }));
    }

    /// Whether the guest has enabled the subchannel.
    pub fn is_enabled(&self) -> bool {
        let enabled = |channel: &Channel| channel.subchannel.lock().operational().is_ok();
        self.link.with(enabled).unwrap_or(false)
    }
}
