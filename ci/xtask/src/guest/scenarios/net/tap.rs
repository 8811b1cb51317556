//! Tap interfaces, and the devices on them.

use anyhow::Result;

use crate::guest::scenario::tool;
use crate::process::output;

/// A tap interface and the device on it.
pub(super) struct Tap {
    pub(super) name: &'static str,
    /// Of device and back-end.
    pub(super) id: &'static str,
    /// Of its subnet, 10.77.n.0/24.
    subnet: u32,
    /// Last byte of the guest's Ethernet address.
    station: u32,
    queues: u32,
    device: &'static str,
    /// Properties that only our device has.
    ours: &'static str,
}

impl Tap {
    pub(super) fn is_mmio(&self) -> bool {
        self.device.starts_with("virtio-net-device")
    }

    pub(super) fn make(&self) -> Result<()> {
        let (name, subnet) = (self.name, self.subnet);
        self.remove();
        let queues = if self.queues > 1 { " multi_queue" } else { "" };
        ip(&format!("tuntap add dev {name} mode tap vnet_hdr{queues}"))?;
        ip(&format!("addr add 10.77.{subnet}.1/24 dev {name}"))?;
        ip(&format!("link set {name} up"))?;
        if self.subnet == 0 {
            // Stations that are not there, and one that is, in a VLAN.
            ip(&format!(
                "neigh replace 10.77.0.99 lladdr 02:00:00:00:00:99 dev {name}"
            ))?;
            ip(&format!("link add link {name} name {name}v type vlan id 5"))?;
            ip(&format!("addr add 10.77.5.1/24 dev {name}v"))?;
            ip(&format!("link set {name}v up"))?;
            let station = "52:54:00:77:00:01";
            ip(&format!(
                "neigh replace 10.77.5.99 lladdr {station} dev {name}v"
            ))?;
        }
        Ok(())
    }

    /// With what hangs on it; it need not be there.
    fn remove(&self) {
        let _ = ip(&format!("link del {}", self.name));
    }

    pub(super) fn netdev(&self) -> String {
        let Self {
            id, name, queues, ..
        } = self;
        format!("tap,id=tap-{id},ifname={name},queues={queues},script=no,downscript=no")
    }

    pub(super) fn netdev_id(&self) -> String {
        format!("tap-{}", self.id)
    }

    pub(super) fn device(&self, ours: bool) -> String {
        let Self {
            id,
            device,
            station,
            ..
        } = self;
        let ours = if ours { self.ours } else { "" };
        format!("{device},id={id},netdev=tap-{id},mac=52:54:00:77:00:0{station}{ours}")
    }
}

/// Removes the interfaces of the host when it is dropped.
pub(super) struct Interfaces;

impl Drop for Interfaces {
    fn drop(&mut self) {
        TAPS.iter().for_each(Tap::remove);
    }
}

pub(super) fn ip(arguments: &str) -> Result<()> {
    output(tool("ip")?.args(arguments.split(' '))).map(drop)
}

pub(super) const TAPS: [Tap; 3] = [
    Tap {
        name: "guest-split",
        id: "net1",
        subnet: 0,
        station: 1,
        queues: 2,
        device: "virtio-net-pci,mq=on,rss=on,hash=on,vectors=6",
        ours: ",notf_coal=on",
    },
    Tap {
        name: "guest-packed",
        id: "net2",
        subnet: 2,
        station: 2,
        queues: 1,
        device: "virtio-net-pci-non-transitional,packed=on",
        ours: "",
    },
    Tap {
        name: "guest-mmio",
        id: "net3",
        subnet: 3,
        station: 3,
        queues: 1,
        device: "virtio-net-device",
        ours: "",
    },
];
