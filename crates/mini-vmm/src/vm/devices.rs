//! Devices that come to a machine that runs, and leave it.

use std::time::Instant;

use serde_json::json;

use super::Machine;
use crate::backends::path_of;
use crate::devices::{self, Bay, Control, Plugged, PluggedPort, PluggedUnit};
use crate::options::{BadOption, DeviceOptions};
use crate::qmp::{Event, QmpError};

impl Machine {
    /// Makes the device of `options`, plugs it in and tells the guest.
    ///
    /// # Errors
    /// An identifier that is taken, a device that cannot be made, or a bus that takes none later.
    pub(crate) fn add_device(&mut self, options: &DeviceOptions) -> Result<(), QmpError> {
        if let Some(id) = &options.id
            && self.has_device(&path_of(id))
        {
            let desc = format!("Duplicate device ID '{id}'");
            return Err(QmpError::generic(desc));
        }
        let plugged = &mut self.hardware.devices;
        if let Some(()) = devices::add_child(options, &mut self.backends, plugged)? {
            return Ok(());
        }
        let plug = devices::make_pci(options, &mut self.backends, self.config.cpus)?;
        let pci = &mut self.hardware.pci;
        pci.takes_later(DEVICE_ADD, options.property("bus"))?;
        let device = plug(&mut Bay {
            pci,
            memory: &self.memory,
            workers: &self.workers,
        })?;
        if let Some(place) = device.place() {
            self.hardware.pci.came(place);
        }
        self.hardware.devices.push(device);
        Ok(())
    }

    /// Asks the guest to let the device `id` (or of that path) go, again if it has not answered for long. A port or a
    /// SCSI disk goes at once.
    ///
    /// # Errors
    /// One that does not exist, that was asked for just now, or that stays.
    pub(crate) fn remove_device(&mut self, id: &str) -> Result<(), QmpError> {
        let path = path_of(id);
        if let Some((handle, port)) = self.port_mut(&path) {
            if std::mem::replace(&mut port.leaving, true) {
                return Err(leaving_already(id));
            }
            handle.remove_port(port.number);
            // Nothing may have had its host end.
            self.hardware.pci.departures().wake();
            return Ok(());
        }
        if let Some((handle, unit)) = self.unit_mut(&path) {
            if std::mem::replace(&mut unit.leaving, true) {
                return Err(leaving_already(id));
            }
            handle.remove(unit.address);
            self.hardware.pci.departures().wake();
            return Ok(());
        }
        let mut devices = self.hardware.devices.iter_mut();
        let device = devices.find(|device| device.path == path);
        let device = device.ok_or_else(|| QmpError::no_device(id))?;
        let place = device.place().ok_or_else(|| {
            let accepted = "a device on PCI";
            BadOption::new(DEVICE_DEL, "the devices of this bus stay", accepted)
        })?;
        if device.leaving.is_some_and(|until| Instant::now() < until) {
            return Err(leaving_already(id));
        }
        let patience = self.hardware.pci.ask_to_leave(place)?;
        device.leaving = Some(Instant::now() + patience);
        Ok(())
    }

    /// Tells monitors of drivers that have changed what they receive.
    fn tell_filters(&self) {
        for device in &self.hardware.devices {
            if let Control::Net(net) = &device.control
                && net.news.take()
            {
                let mut data = json!({"path": device.backend_path()});
                if let Some(id) = &device.id {
                    data["name"] = id.as_str().into();
                }
                self.tell(&Event::new("NIC_RX_FILTER_CHANGED", data));
            }
        }
    }

    /// Ends devices that are off their bus, when what they have in flight is done, and tells
    /// monitors.
    pub(super) fn see_off(&mut self) {
        self.tell_filters();
        self.see_off_children();
        self.tell_trays();
        for place in self.hardware.pci.departures().take() {
            let devices = &mut self.hardware.devices;
            let gone = devices
                .iter()
                .position(|device| device.place() == Some(place));
            if let Some(gone) = gone {
                let device = devices.remove(gone);
                device.reset();
                if let Control::Net(net) = &device.control {
                    self.backends.macs.release(net.handle.mac());
                }
                self.tell_gone(device);
            }
        }
    }

    /// Ends a device with what is on it, and tells monitors, who may use its host ends again then.
    fn tell_gone(&mut self, device: Plugged) {
        let backend = device.backend_path();
        let Plugged {
            id,
            path,
            seat,
            control,
            ..
        } = device;
        drop(seat);
        let children = match control {
            Control::Serial(_, ports) => {
                ports.into_iter().map(|port| (port.id, port.path)).collect()
            }
            Control::Scsi(_, units) => units.into_iter().map(|unit| (unit.id, unit.path)).collect(),
            _ => Vec::new(),
        };
        self.tell_children_deleted(children);
        // QEMU's proxy goes after the device behind it, so there are two events.
        self.tell_deleted(None, &backend);
        self.tell_deleted(id.as_deref(), &path);
    }

    /// Forgets ports and units whose host end is free, and tells monitors.
    fn see_off_children(&mut self) {
        let mut gone = Vec::new();
        for device in &mut self.hardware.devices {
            match &mut device.control {
                Control::Serial(_, ports) => {
                    let left =
                        |port: &mut PluggedPort| port.leaving && port.tenancy.strong_count() == 0;
                    let left = ports.extract_if(.., left);
                    gone.extend(left.map(|port| (port.id, port.path)));
                }
                Control::Scsi(_, units) => {
                    let left =
                        |unit: &mut PluggedUnit| unit.leaving && unit.tenancy.strong_count() == 0;
                    let left = units.extract_if(.., left);
                    gone.extend(left.map(|unit| (unit.id, unit.path)));
                }
                _ => {}
            }
        }
        self.tell_children_deleted(gone);
    }

    fn tell_children_deleted(&mut self, children: Vec<(Option<String>, String)>) {
        for (id, path) in children {
            if let Some(id) = &id {
                self.port_news.forget(id);
            }
            self.tell_deleted(id.as_deref(), &path);
        }
    }

    /// A guest that is reset has let go of everything.
    pub(super) fn take_away_leavers(&mut self) {
        let leaving = self.hardware.devices.iter();
        let leaving = leaving.filter(|device| device.leaving.is_some());
        for place in leaving.filter_map(|device| device.place()) {
            self.hardware.pci.take_away(place);
        }
        self.see_off();
    }

    fn tell_deleted(&self, id: Option<&str>, path: &str) {
        let mut data = json!({"path": path});
        if let Some(id) = id {
            data["device"] = id.into();
        }
        self.tell(&Event::new("DEVICE_DELETED", data));
    }
}

fn leaving_already(id: &str) -> QmpError {
    QmpError::generic(format_args!(
        "Device {id} is already in the process of unplug"
    ))
}

const DEVICE_ADD: &str = "device_add";
const DEVICE_DEL: &str = "device_del";
