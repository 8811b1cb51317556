//! `virtio-serial` and its ports, `virtconsole` and `virtserialport`.
//!
//! A controller is made with its ports, which come after it on the command line.

use std::collections::BTreeMap;
use std::sync::Arc;

use virtio_device::props::{DynProps, PropError, PropHelp};
use virtio_serial::{
    Null, Port, PortBackend, PortKind, PortProps, Serial, SerialError, SerialProps,
};

use super::child::{BUS, Controllers, OnBus};
use super::table::{Kind, Row};
use super::tenant::{Tenancy, Tenant};
use super::virtio::{Device, Model, ModelProps, apply, bad_property};
use super::{Control, Parts, Plugged, PluggedPort, option};
use crate::backends::Backends;
use crate::chardev::ChardevPort;
use crate::options::{BadOption, DeviceOptions};

pub(super) const MODEL: Model = Model {
    help: "consoles and named ports: virtconsole, virtserialport",
    props: || Box::new(SerialProps::default()),
};

/// The ports of a controller.
pub(super) type Ports = Vec<NamedPort>;

/// A port and what errors call it.
pub(super) struct NamedPort {
    option: String,
    id: Option<String>,
    path: String,
    props: PortProps,
    port: Port,
    tenancy: Arc<Tenancy>,
}

impl ModelProps for SerialProps {
    fn device(&mut self, option: &str, parts: &mut Parts<'_>) -> Result<Device, BadOption> {
        let (mut names, mut plugged, mut ports) = (Vec::new(), Vec::new(), Vec::new());
        for named in std::mem::take(&mut parts.ports) {
            let chardev = named.props.chardev.clone();
            let tenancy = Arc::downgrade(&named.tenancy);
            plugged.push(((named.id, named.path), chardev, tenancy));
            names.push((named.option, named.props));
            ports.push(named.port);
        }
        match Serial::new(self, ports) {
            Ok(device) => {
                let numbers = device.numbers().into_iter().zip(plugged);
                let plugged = numbers.map(|(number, ((id, path), chardev, tenancy))| PluggedPort {
                    id,
                    path,
                    number,
                    chardev,
                    leaving: false,
                    tenancy,
                });
                parts.control = Control::Serial(device.handle(), plugged.collect());
                Ok(Box::new(device))
            }
            Err(SerialError::Property(error)) => {
                let option = culprit(&names, &error).unwrap_or(option);
                Err(bad_property(option, error))
            }
            Err(error) => Err(BadOption::new(option, error, "fewer devices")),
        }
    }
}

/// The ports among `devices`, whose paths are `paths`, by their controller's place in the list.
pub(super) fn ports(
    devices: &[(&DeviceOptions, &Row)],
    paths: &[String],
    backends: &mut Backends,
) -> Result<BTreeMap<usize, Ports>, BadOption> {
    let mut ports = BTreeMap::<usize, Ports>::new();
    for (index, ((options, row), path)) in devices.iter().zip(paths).enumerate() {
        if let Kind::Port(kind) = row.kind {
            let (bus, port) = port((options, path.clone()), kind, backends)?;
            let controller = BUSES.find(devices, index, bus.as_deref())?;
            ports.entry(controller).or_default().push(port);
        }
    }
    Ok(ports)
}

/// Properties of a port.
pub(super) fn port_properties() -> Vec<PropHelp> {
    OnBus::<PortProps>::default().describe()
}

fn port(
    (options, path): (&DeviceOptions, String),
    kind: PortKind,
    backends: &mut Backends,
) -> Result<(Option<String>, NamedPort), BadOption> {
    let (option, mut given) = (option(options), OnBus::<PortProps>::default());
    apply(&option, options, &mut [&mut given])?;
    let OnBus { props, bus } = given;
    let backend: Box<dyn PortBackend> = match &props.chardev {
        None => Box::new(Null),
        Some(id) => Box::new(ChardevPort::new(backends.chardev(&option, "chardev", id)?)),
    };
    let tenant = Tenant::new(backend, options.id.clone(), backends.departures());
    let tenancy = Arc::clone(tenant.tenancy());
    let port = Port::new(kind, props.clone(), Box::new(tenant));
    Ok((
        bus,
        NamedPort {
            option,
            id: options.id.clone(),
            path,
            props,
            port,
            tenancy,
        },
    ))
}

/// Adds a port to the device whose bus it names, or the first one.
pub(super) fn add_port(
    options: (&DeviceOptions, String),
    kind: PortKind,
    backends: &mut Backends,
    devices: &mut [Plugged],
) -> Result<(), BadOption> {
    let (bus, named) = port(options, kind, backends)?;
    let mut controllers = devices.iter_mut().filter_map(|device| {
        let own = device.id.as_ref().map(|id| format!("{id}.0"));
        let wanted = bus.is_none() || bus == own;
        match &mut device.control {
            Control::Serial(handle, ports) if wanted => Some((handle, ports)),
            _ => None,
        }
    });
    let (handle, ports) = controllers.next().ok_or_else(|| {
        let bus = bus.as_deref().unwrap_or_default();
        let accepted = "ID.0 of a virtio-serial device";
        BadOption::property(&named.option, BUS, bus, "no such bus", accepted)
    })?;
    let number = handle.add_port(named.port);
    let number = number.map_err(|error| bad_property(&named.option, error))?;
    ports.push(PluggedPort {
        id: named.id,
        path: named.path,
        number,
        chardev: named.props.chardev,
        leaving: false,
        tenancy: Arc::downgrade(&named.tenancy),
    });
    Ok(())
}

/// The port whose property is at fault, if it is one of a port.
fn culprit<'a>(names: &'a [(String, PortProps)], error: &PropError) -> Option<&'a str> {
    let PropError::Value { name, value, .. } = error else {
        return None;
    };
    let at_fault = |props: &PortProps| match *name {
        "nr" => props.nr.to_string() == *value,
        "name" => props.name.as_ref() == Some(value),
        _ => false,
    };
    // Of two that are at odds, the later one is refused.
    let port = names.iter().rev().find(|(_, props)| at_fault(props));
    port.map(|(option, _)| option.as_str())
}

const BUSES: Controllers = Controllers {
    prefix: "virtio-serial-",
    example: "virtio-serial-pci",
};
