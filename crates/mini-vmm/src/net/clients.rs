//! What network devices without an identifier are called.

use std::collections::BTreeMap;

/// How many clients there have been of each type of device: one for each pair of queues, as QEMU counts.
#[derive(Debug, Default)]
pub struct Clients(BTreeMap<&'static str, usize>);

impl Clients {
    /// The name of a new device of the type `driver` with so many pairs of queues, should it have no identifier. The
    /// next device's is another one, also when this one has gone.
    pub fn name(&mut self, driver: &'static str, pairs: usize) -> String {
        let number = self.0.entry(driver).or_default();
        let name = format!("{driver}.{number}");
        *number += pairs;
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_of_a_type_are_numbered() {
        let mut clients = Clients::default();
        for (driver, pairs, name) in [
            ("virtio-net-pci", 4, "virtio-net-pci.0"),
            ("virtio-net-ccw", 1, "virtio-net-ccw.0"),
            ("virtio-net-pci", 1, "virtio-net-pci.4"),
            ("virtio-net-pci", 1, "virtio-net-pci.5"),
        ] {
            assert_eq!(clients.name(driver, pairs), name);
        }
    }
}
