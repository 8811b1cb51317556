//! Network devices and their back-ends.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use virtio_net::{FilterReport, Mac, Reception};

use crate::devices::{Control, NetControl};
use crate::net::Rounds;
use crate::options::{KeyVals, NetdevOptions};
use crate::qmp::arguments::Arguments;
use crate::qmp::error::QmpError;
use crate::vm::Machine;

pub(in crate::qmp) fn add(machine: &mut Machine, arguments: Arguments) -> Result<Value, QmpError> {
    let kv = KeyVals::of("netdev_add", arguments.into_pairs());
    let options = NetdevOptions::of(kv)?;
    if machine.backends.has_netdev(&options.id) {
        return Err(QmpError::duplicate(&options.id));
    }
    machine.backends.add_netdev("netdev_add", &options)?;
    Ok(json!({}))
}

pub(in crate::qmp) fn delete(
    machine: &mut Machine,
    arguments: Arguments,
) -> Result<Value, QmpError> {
    let id = arguments.text("id");
    if !machine.backends.has_netdev(id) {
        return Err(QmpError::no_device(id));
    }
    machine.backends.remove_netdev("netdev_del", id)?;
    Ok(json!({}))
}

/// The name is that of a device or of a back-end.
pub(in crate::qmp) fn set_link(
    machine: &mut Machine,
    arguments: Arguments,
) -> Result<Value, QmpError> {
    let (name, up) = (arguments.text("name"), arguments.switch("up"));
    let mut found = machine.backends.set_link(name, up);
    for (id, net) in devices(machine) {
        if id == name || net.netdev_id.as_deref() == Some(name) {
            net.handle.set_link(up);
            found = true;
        }
    }
    match found {
        true => Ok(json!({})),
        false => Err(QmpError::no_device(name)),
    }
}

pub(in crate::qmp) fn announce(
    machine: &mut Machine,
    arguments: Arguments,
) -> Result<Value, QmpError> {
    let milliseconds = |name| Duration::from_millis(arguments.number(name).min(MOST));
    let wanted = arguments.list("interfaces");
    let named = devices(machine).filter(|(id, _)| {
        let names = wanted.as_ref();
        names.is_none_or(|names| names.contains(id))
    });
    let rounds = Rounds {
        id: arguments.text("id").to_owned(),
        devices: named.map(|(_, net)| net.handle.clone()).collect(),
        left: arguments.number("rounds"),
        delay: milliseconds("initial"),
        step: milliseconds("step"),
        most: milliseconds("max"),
        next: Instant::now(),
    };
    machine.announcer.begin(rounds);
    Ok(json!({}))
}

pub(in crate::qmp) fn query_filter(
    machine: &mut Machine,
    arguments: Arguments,
) -> Result<Value, QmpError> {
    let name = arguments.optional("name");
    let mut reports = Vec::new();
    for (id, net) in devices(machine) {
        if name.is_none_or(|name| id == name) {
            net.news.arm();
            reports.push(report(id, &net.handle.filter()));
        }
    }
    match (name, reports.is_empty()) {
        (Some(name), true) => Err(QmpError::generic(format_args!(
            "invalid net client name: {name}"
        ))),
        _ => Ok(Value::Array(reports)),
    }
}

/// Network devices by their identifiers, or what else they are called.
fn devices(machine: &Machine) -> impl Iterator<Item = (&str, &NetControl)> {
    let devices = machine.hardware.devices.iter();
    devices.filter_map(|device| match &device.control {
        Control::Net(net) => Some((device.id.as_deref().unwrap_or(&net.name), &**net)),
        _ => None,
    })
}

fn report(name: &str, report: &FilterReport) -> Value {
    let reception = |reception| match reception {
        Reception::Normal => "normal",
        Reception::None => "none",
        Reception::All => "all",
    };
    let macs = |macs: &[Mac]| macs.iter().map(Mac::to_string).collect::<Vec<_>>();
    json!({
        "name": name,
        "promiscuous": report.promiscuous,
        "unicast": reception(report.unicast),
        "multicast": reception(report.multicast),
        "broadcast-allowed": report.broadcast_allowed,
        "unicast-overflow": report.unicast_overflow,
        "multicast-overflow": report.multicast_overflow,
        "main-mac": report.main_mac.to_string(),
        "unicast-table": macs(&report.unicast_table),
        "multicast-table": macs(&report.multicast_table),
        "vlan": if report.vlans.is_some() { "normal" } else { "all" },
        "vlan-table": report.vlans.clone().unwrap_or_default(),
    })
}

/// Milliseconds; QEMU's limit.
const MOST: u64 = 100_000;
