//! Devices that sit on a virtio device: ports, disks. They come after it on the command line, and
//! name its bus, or mean the last one before them.

use virtio_device::props::{DynProps, PropError, PropHelp, Props};

use super::option;
use super::table::Row;
use crate::options::{BadOption, DeviceOptions};

/// Types of device that others sit on.
#[derive(Clone, Copy)]
pub(super) struct Controllers {
    /// What the names of their types begin with.
    pub(super) prefix: &'static str,
    /// One of them, for errors.
    pub(super) example: &'static str,
}

impl Controllers {
    /// The place in `devices` of the controller that the device at `child` names by `bus`.
    pub(super) fn find(
        self,
        devices: &[(&DeviceOptions, &Row)],
        child: usize,
        bus: Option<&str>,
    ) -> Result<usize, BadOption> {
        let mut all = self.all(devices);
        let found = match bus {
            Some(bus) => all.find(|(_, options)| bus_of(options).as_deref() == Some(bus)),
            None => all.take_while(|(index, _)| *index < child).last(),
        };
        let missing = || self.missing(devices, devices.get(child).map(|(own, _)| *own), bus);
        found.map(|(index, _)| index).ok_or_else(missing)
    }

    fn all<'a>(
        self,
        devices: &'a [(&DeviceOptions, &Row)],
    ) -> impl Iterator<Item = (usize, &'a DeviceOptions)> {
        let devices = devices.iter().enumerate();
        devices.filter_map(move |(index, (options, row))| {
            let controls = row.name.starts_with(self.prefix);
            controls.then_some((index, *options))
        })
    }

    fn missing(
        self,
        devices: &[(&DeviceOptions, &Row)],
        child: Option<&DeviceOptions>,
        bus: Option<&str>,
    ) -> BadOption {
        let names = self.all(devices).filter_map(|(_, options)| bus_of(options));
        let names: Vec<_> = names.collect();
        let accepted = if names.is_empty() {
            format!("ID.0, after a -device {},id=ID", self.example)
        } else {
            names.join(", ")
        };
        let option = child.map(option).unwrap_or_default();
        let bus = bus.unwrap_or_default();
        BadOption::property(&option, BUS, bus, "no such bus", accepted)
    }
}

/// Properties of a device, with the bus that it is on.
#[derive(Default)]
pub(super) struct OnBus<P> {
    pub(super) props: P,
    pub(super) bus: Option<String>,
}

impl<P: Props> DynProps for OnBus<P> {
    fn set(&mut self, name: &str, value: &str) -> Result<bool, PropError> {
        if name == BUS {
            self.bus = Some(value.to_owned());
            return Ok(true);
        }
        Props::set(&mut self.props, name, value)
    }

    fn describe(&self) -> Vec<PropHelp> {
        let mut described = Props::describe(&self.props);
        described.push(PropHelp {
            name: BUS,
            accepts: "text",
            value: String::new(),
            help: "Bus: ID.0 of the device that it sits on; the last one before it if unset.",
        });
        described
    }
}

/// QEMU's name of a controller's bus.
fn bus_of(options: &DeviceOptions) -> Option<String> {
    options.id.as_ref().map(|id| format!("{id}.0"))
}

pub(super) const BUS: &str = "bus";
