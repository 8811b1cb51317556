//! What the VMM can do with the device while it runs.

use std::sync::Arc;

use crate::shared::Shared;
use crate::{FilterReport, Mac};

/// The VMM's hold on a [`Net`](crate::Net) that a transport owns. Clones hold the same device.
#[derive(Clone)]
pub struct NetHandle {
    pub(crate) shared: Arc<Shared>,
    pub(crate) vlans_filtered: bool,
}

impl NetHandle {
    /// Sets the link up or down. While it is down no frame passes, in either direction, and a driver
    /// that negotiated VIRTIO_NET_F_STATUS is told (section 5.1.4).
    pub fn set_link(&self, up: bool) {
        self.shared.set_link(up);
    }

    /// Whether the link is up.
    pub fn link(&self) -> bool {
        self.shared.link()
    }

    /// Tells the network where the device is: by a frame of reverse ARP, and by asking a driver that
    /// negotiated VIRTIO_NET_F_GUEST_ANNOUNCE to do so itself (section 5.1.6.5.4).
    pub fn announce(&self) {
        self.shared.announce();
    }

    /// The address that the device has at the moment.
    pub fn mac(&self) -> Mac {
        self.shared.rules().filter.mac
    }

    /// Which frames the driver receives.
    pub fn filter(&self) -> FilterReport {
        self.shared.rules().filter.report(self.vlans_filtered)
    }

    /// Has `watcher` called, from a worker, after each command that changes what
    /// [`filter`](Self::filter) tells. It replaces one that was given before.
    pub fn watch_filter(&self, watcher: impl Fn() + Send + Sync + 'static) {
        self.shared.watch_filter(Arc::new(watcher));
    }
}
