//! What there is.

use std::collections::BTreeMap;

use rustix::thread::Pid;
use serde_json::{Value, json};
use vm_pci::{IoAddr, IoRange};

use crate::drive::{Drive, Drives};
use crate::options::{Accel, Cache, DriveSource, Throttling, throttling};
use crate::pci::Function;
use crate::qmp::arguments::Arguments;
use crate::qmp::error::QmpError;
use crate::vm::Machine;

use super::block;

pub(in crate::qmp) fn kvm(machine: &mut Machine, _: Arguments) -> Result<Value, QmpError> {
    let present = machine.config.accel == Accel::Kvm;
    Ok(json!({"enabled": present, "present": present}))
}

/// A test that makes the accesses of processors has none.
pub(in crate::qmp) fn cpus(machine: &mut Machine, _: Arguments) -> Result<Value, QmpError> {
    let threads = machine.processor_threads()?;
    let cpu = |(index, thread): (usize, Pid)| {
        json!({
            "cpu-index": index,
            "qom-path": format!("/machine/unattached/device[{index}]"),
            "thread-id": thread.as_raw_nonzero().get(),
            "target": TARGET,
        })
    };
    Ok(threads.into_iter().enumerate().map(cpu).collect())
}

pub(in crate::qmp) fn target(_: &mut Machine, _: Arguments) -> Result<Value, QmpError> {
    Ok(json!({"arch": TARGET}))
}

/// An extension, for those who look for what devices leave behind.
pub(in crate::qmp) fn tally(machine: &mut Machine, _: Arguments) -> Result<Value, QmpError> {
    let tally = machine.tally();
    let tally = tally.ok_or_else(|| QmpError::generic("this machine does not run on KVM"))?;
    Ok(json!({
        "memory-slots": tally.memory_slots.number(),
        "ioeventfds": tally.ioeventfds.number(),
        "irqfds": tally.irqfds.number(),
        "msi-routes": tally.msi_routes.number(),
    }))
}

pub(in crate::qmp) fn name(machine: &mut Machine, _: Arguments) -> Result<Value, QmpError> {
    Ok(match &machine.config.name {
        Some(name) => json!({"name": name}),
        None => json!({}),
    })
}

pub(in crate::qmp) fn block(machine: &mut Machine, _: Arguments) -> Result<Value, QmpError> {
    let drives = &machine.backends.drives;
    let blocks = drives.iter().map(|(id, drive)| {
        let mut block = json!({
            "device": id,
            "locked": false,
            "removable": false,
            "type": "unknown",
            "inserted": inserted(drives, drive)?,
        });
        if drive.is_used() {
            block["io-status"] = machine.io_status(id).word().into();
        }
        if let Some(path) = machine.user_of(id) {
            block["qdev"] = path.into();
        }
        Ok(block)
    });
    blocks.collect()
}

pub(in crate::qmp) fn named_block_nodes(
    machine: &mut Machine,
    _: Arguments,
) -> Result<Value, QmpError> {
    let drives = &machine.backends.drives;
    drives
        .iter()
        .map(|(_, drive)| inserted(drives, drive))
        .collect()
}

pub(in crate::qmp) fn pci(machine: &mut Machine, _: Arguments) -> Result<Value, QmpError> {
    let mut buses = BTreeMap::<u8, Vec<Value>>::new();
    for function in machine.hardware.pci.functions() {
        let devices = buses.entry(function.bus).or_default();
        devices.push(pci_device(machine, &function));
    }
    let buses = buses.into_iter();
    Ok(buses
        .map(|(bus, devices)| json!({"bus": bus, "devices": devices}))
        .collect())
}

fn pci_device(machine: &Machine, at: &Function) -> Value {
    let word = |offset| {
        let mut bytes = [0; 2];
        at.function.read_config(offset, &mut bytes);
        u16::from_le_bytes(bytes)
    };
    let mut devices = machine.hardware.devices.iter();
    let plugged = devices.find(|device| device.place() == Some(at.place));
    json!({
        "bus": at.bus,
        "slot": at.place.slot().device(),
        "function": at.place.slot().function(),
        "class_info": {"class": word(CLASS)},
        "id": {
            "vendor": word(VENDOR),
            "device": word(DEVICE),
            "subsystem-vendor": word(SUBSYSTEM_VENDOR),
            "subsystem": word(SUBSYSTEM),
        },
        "irq_pin": word(INTERRUPT) >> 8,
        "qdev_id": plugged.and_then(|device| device.id.as_deref()).unwrap_or(""),
        "regions": at.function.decode().iter().map(region).collect::<Vec<_>>(),
    })
}

/// A BAR that is decoded.
fn region((bar, range): (u8, IoRange)) -> Value {
    let (kind, address) = match range.start() {
        IoAddr::Pio(port) => ("io", port.into()),
        IoAddr::Mmio(address) => ("memory", address),
    };
    json!({"bar": bar, "type": kind, "address": address, "size": range.size()})
}

fn inserted(drives: &Drives, drive: &Drive) -> Result<Value, QmpError> {
    let options = &drive.options;
    let size = drive.size()?;
    let driver = match options.source {
        _ if matches!(options.throttling, Throttling::Group(_)) => "throttle",
        DriveSource::File(_) | DriveSource::Node(_) => "raw",
        DriveSource::Null(_) => "null-co",
        DriveSource::Qcow2(..) => "qcow2",
    };
    let file = drives.filename(&options.source);
    let below = drives.chain(&options.source);
    let mut inserted = json!({
        "file": file,
        "node-name": options.id,
        "drv": driver,
        "ro": options.read_only,
        "backing_file_depth": below.len(),
        "encrypted": false,
        "detect_zeroes": "off",
        "write_threshold": 0,
        "cache": {
            "writeback": options.cache != Cache::WriteThrough,
            "direct": options.cache == Cache::None,
            "no-flush": false,
        },
        "image": {"filename": file, "format": driver, "virtual-size": size},
    });
    let own = drive.group().filter(|_| driver != "throttle");
    let rates = own.as_ref().map(|(_, group)| group.rates());
    for (name, value) in throttling::named(rates.unwrap_or_default()) {
        inserted[block::limit(&name)] = value.into();
    }
    if let Some((name, _)) = own {
        inserted["group"] = name.into();
    }
    if let Some(source) = below.first() {
        inserted["backing_file"] = drives.filename(source).into();
    }
    Ok(inserted)
}

/// QEMU's name of the architecture.
const TARGET: &str = "x86_64";
/// Offsets in configuration space.
const VENDOR: u16 = 0x00;
const DEVICE: u16 = 0x02;
const CLASS: u16 = 0x0a;
const SUBSYSTEM_VENDOR: u16 = 0x2c;
const SUBSYSTEM: u16 = 0x2e;
const INTERRUPT: u16 = 0x3c;
