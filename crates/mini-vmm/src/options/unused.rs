//! Back-ends that nothing refers to: most likely a `-device` was forgotten.

use super::{Config, SerialTarget};

impl Config {
    /// A line for each back-end that no device or serial port uses, nor can use later: a monitor may
    /// add one that does.
    pub fn unused(&self) -> Vec<String> {
        if !self.monitors.is_empty() {
            return Vec::new();
        }
        let chardevs = self.chardevs.iter().map(|chardev| &chardev.id);
        let chardevs = chardevs.filter(|id| !self.refers("chardev", id) && !self.serves(id));
        let drives = self.drives.iter().map(|drive| &drive.id);
        let drives = drives.filter(|id| !self.refers("drive", id) && !self.is_below(id));
        let netdevs = self.netdevs.iter().map(|netdev| &netdev.id);
        let netdevs = netdevs.filter(|id| !self.refers("netdev", id));
        let fsdevs = self.fsdevs.iter().map(|share| &share.id);
        let fsdevs = fsdevs.filter(|id| !self.refers("fsdev", id));
        let objects = self.objects.iter();
        let objects = objects.filter_map(|object| Some((property(&object.kind)?, &object.id)));
        let objects = objects.filter(|(key, id)| !self.refers(key, id));
        let line = |option, key| {
            move |id| {
                format!("{option} id={id}: no device uses it; accepted: a -device with {key}={id}")
            }
        };
        chardevs
            .map(line("-chardev", "chardev"))
            .chain(drives.map(line("-drive", "drive")))
            .chain(fsdevs.map(line("-fsdev", "fsdev")))
            .chain(netdevs.map(line("-netdev", "netdev")))
            .chain(objects.map(|(key, id)| line("-object", key)(id)))
            .collect()
    }

    fn refers(&self, key: &str, id: &str) -> bool {
        let devices = self.devices.iter().flat_map(|device| &device.properties);
        let objects = self.objects.iter().flat_map(|object| &object.properties);
        devices
            .chain(objects)
            .any(|(name, value)| name == key && value == id)
    }

    fn is_below(&self, id: &str) -> bool {
        let mut drives = self.drives.iter();
        drives.any(|drive| drive.source.nodes().contains(&id))
    }

    fn serves(&self, id: &str) -> bool {
        let mut serials = self.serials.iter().flatten();
        serials.any(|serial| matches!(serial, SerialTarget::Shared(shared) if shared == id))
    }
}

/// The property by which a device has an object of this `kind`, if it is one that devices have.
fn property(kind: &str) -> Option<&'static str> {
    match kind {
        "iothread" => Some("iothread"),
        _ => kind.starts_with("rng-").then_some("rng"),
    }
}
