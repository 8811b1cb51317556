//! Which port gets which number, as QEMU deals them out.

use std::collections::BTreeMap;

use virtio_device::props::PropError;

use crate::props::ANY_NUMBER;
use crate::{Port, PortKind};

/// The ports by number. Number 0 is the only one that a driver without VIRTIO_CONSOLE_F_MULTIPORT
/// sees, and takes for a console; so it is kept for one.
pub(crate) fn number(ports: Vec<Port>, max_ports: u16) -> Result<BTreeMap<u16, Port>, PropError> {
    let mut numbered = BTreeMap::new();
    for port in ports {
        port.props.check()?;
        check_name(&numbered, &port)?;
        let number = choose(&numbered, &port, max_ports)?;
        numbered.insert(number, port);
    }
    Ok(numbered)
}

fn check_name(others: &BTreeMap<u16, Port>, port: &Port) -> Result<(), PropError> {
    let taken = |name: &&String| {
        others
            .values()
            .any(|other| other.props.name.as_ref() == Some(*name))
    };
    match port.props.name.as_ref().filter(taken) {
        None => Ok(()),
        Some(name) => Err(refuse("name", name, "a name that no other port has")),
    }
}

fn choose(others: &BTreeMap<u16, Port>, port: &Port, max_ports: u16) -> Result<u16, PropError> {
    let number = port.props.nr;
    let is_free = |number: &u16| !others.contains_key(number);
    if number == ANY_NUMBER {
        let first = u16::from(port.kind != PortKind::Console);
        return (first..max_ports).find(is_free).ok_or_else(|| {
            refuse(
                "max_ports",
                &max_ports.to_string(),
                "a number above that of the ports, and of 0",
            )
        });
    }
    if number == 0 && port.kind != PortKind::Console {
        return Err(refuse(
            "nr",
            "0",
            "a number from 1, as 0 is for a virtconsole",
        ));
    }
    u16::try_from(number)
        .ok()
        .filter(|&number| number < max_ports)
        .filter(is_free)
        .ok_or_else(|| {
            refuse(
                "nr",
                &number.to_string(),
                "a number below max_ports that no other port has",
            )
        })
}

fn refuse(name: &'static str, value: &str, accepts: &'static str) -> PropError {
    PropError::Value {
        name,
        value: value.to_owned(),
        accepts,
    }
}
