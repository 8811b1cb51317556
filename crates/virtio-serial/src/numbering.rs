//! Which port gets which number, as QEMU deals them out.

use std::collections::BTreeMap;

use virtio_device::props::PropError;

use crate::props::ANY_NUMBER;
use crate::{Port, PortKind};

/// The number of `port` beside `others`, whose names these are. Number 0 is the only one that a
/// driver without VIRTIO_CONSOLE_F_MULTIPORT sees, and takes for a console; so it is kept for one.
pub(crate) fn choose(
    others: &BTreeMap<u16, Option<String>>,
    port: &Port,
    max_ports: u16,
) -> Result<u16, PropError> {
    port.props.check()?;
    check_name(others, port)?;
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

fn check_name(others: &BTreeMap<u16, Option<String>>, port: &Port) -> Result<(), PropError> {
    let Some(name) = &port.props.name else {
        return Ok(());
    };
    match others.values().any(|other| other.as_ref() == Some(name)) {
        false => Ok(()),
        true => Err(refuse("name", name, "a name that no other port has")),
    }
}

fn refuse(name: &'static str, value: &str, accepts: &'static str) -> PropError {
    PropError::Value {
        name,
        value: value.to_owned(),
        accepts,
    }
}
