//! `-nic`: the host end of a network, and a device on it, in one option.

use super::{BadOption, DeviceOptions, Key, KeyVals, NetdevOptions, help, near};

/// One `-nic`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NicOptions {
    /// The host end.
    pub netdev: NetdevOptions,
    /// The device.
    pub device: DeviceOptions,
}

impl NicOptions {
    /// Parses the value of `-nic`, the one of this `number`; `None` for `none`.
    pub fn parse(text: &str, number: usize) -> Result<Option<Self>, BadOption> {
        let mut kv = KeyVals::parse(NIC, text, Some("type"));
        let names: Vec<_> = NetdevOptions::kinds().chain([NONE]).collect();
        let kind = kv.require("type", &names.join(", "))?;
        if kind == NONE {
            let more = kv.into_pairs();
            return match more.first() {
                None => Ok(None),
                Some((key, value)) => {
                    let why = "there is nothing to set";
                    Err(BadOption::property(NIC, key, value, why, "none alone"))
                }
            };
        }
        if !names.contains(&kind.as_str()) {
            let names = near::accepted(&kind, names.into_iter());
            return Err(BadOption::value(NIC, &kind, "unknown type", names));
        }
        let mut device = device(&mut kv)?;
        let id = kv.take("id").unwrap_or_else(|| format!("nic{number}"));
        kv.put("type", &kind);
        kv.put("id", &id);
        let netdev = NetdevOptions::of(kv)?;
        device.properties.push(("netdev".to_owned(), id));
        Ok(Some(Self { netdev, device }))
    }

    /// What `-nic help` prints, or, of one `kind` of network, `-nic KIND,help`.
    pub fn help(kind: &str) -> String {
        let keys: Vec<_> = DEVICE.iter().chain(OTHER).copied().collect();
        let mut text = String::from("A network and a device on it (-nic TYPE[,...], or none):\n");
        text.push_str(&help::keys(&keys, 2));
        text.push_str("and the properties of the type, as for -netdev:\n");
        text + &NetdevOptions::help(kind)
    }
}

/// The device, which has what is not the network's.
fn device(kv: &mut KeyVals) -> Result<DeviceOptions, BadOption> {
    let driver = match kv.take_word("model", &MODELS)? {
        "virtio" | "virtio-net" => "virtio-net-pci",
        model => model,
    };
    let given = DEVICE.iter().filter_map(|(key, _)| {
        let value = kv.take(key)?;
        Some(((*key).to_owned(), value))
    });
    let properties = given.collect();
    Ok(DeviceOptions {
        driver: driver.to_owned(),
        id: None,
        properties,
    })
}

const NIC: &str = "-nic";
const NONE: &str = "none";
/// Types of devices; the first one unless another is asked for.
const MODELS: [&str; 6] = [
    "virtio-net-pci",
    "virtio-net-pci-transitional",
    "virtio-net-pci-non-transitional",
    "virtio-net-device",
    "virtio-net",
    "virtio",
];
/// Properties that are the device's.
const DEVICE: &[Key] = &[
    ("mac", "address of the device, as 52:54:00:12:34:56"),
    ("addr", "slot on the bus"),
    ("vectors", "interrupt messages"),
];
const OTHER: &[Key] = &[
    (
        "model",
        "virtio-net-pci (default), also with -transitional or -non-transitional, or virtio-net-device",
    ),
    ("id", "identifier of the network (default nic0, nic1, ...)"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::NetdevKind;

    #[test]
    fn a_network_and_its_device_are_made() {
        let text = "hubport,hubid=3,mac=52:54:00:00:00:01,addr=5";
        let nic = NicOptions::parse(text, 2).unwrap().unwrap();
        assert_eq!(nic.netdev.id, "nic2");
        assert_eq!(nic.netdev.kind, NetdevKind::Hub { hub: 3 });
        assert_eq!(nic.device.driver, "virtio-net-pci");
        assert_eq!(nic.device.property("netdev"), Some("nic2"));
        assert_eq!(nic.device.property("mac"), Some("52:54:00:00:00:01"));
        assert_eq!(nic.device.property("addr"), Some("5"));
        let text = "user,model=virtio-net-device,id=net0";
        let nic = NicOptions::parse(text, 0).unwrap().unwrap();
        assert_eq!(nic.device.driver, "virtio-net-device");
        assert_eq!(nic.device.property("netdev"), Some("net0"));
        assert_eq!(NicOptions::parse("none", 0), Ok(None));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, expected) in [
            ("", "accepted: tap, socket"),
            ("slirp", "unknown type"),
            ("usr", "accepted: user"),
            ("none,mac=52:54:00:00:00:01", "-nic mac"),
            ("hubport", "hubid=: missing"),
            ("user,model=e1000", "accepted: virtio-net-pci, "),
            ("user,color=blue", "-nic color"),
        ] {
            let error = NicOptions::parse(text, 0).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
