//! Trays of drives, as monitors move them.

use std::sync::Arc;
use std::time::Instant;

use scsi_target::{LogicalUnit, TrayError};
use serde_json::json;
use virtio_scsi::ScsiHandle;

use super::Machine;
use crate::backends::{Backends, path_of};
use crate::devices::{Control, PluggedUnit, refused_unit};
use crate::options::DriveOptions;
use crate::qmp::{Event, QmpError};
use crate::storage::{Storage, unit_storage};

/// How a monitor names a drive: by its device's identifier or path, or by what is in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DriveName<'a> {
    pub(crate) id: Option<&'a str>,
    pub(crate) device: Option<&'a str>,
}

/// A drive that a monitor has named.
struct Found<'a> {
    handle: &'a ScsiHandle<Storage>,
    plugged: &'a mut PluggedUnit,
    unit: Arc<LogicalUnit<Storage>>,
}

impl Machine {
    /// Opens a tray; `force` although the guest has locked it.
    ///
    /// # Errors
    /// A drive that is not there, and what its tray does not allow.
    pub(crate) fn open_tray(&mut self, name: DriveName<'_>, force: bool) -> Result<(), QmpError> {
        let drive = self.drive_of(name)?;
        let opened = drive
            .unit
            .open_tray(force)
            .map_err(|error| explain(name, error));
        drive.handle.media_changed();
        opened?;
        self.tell_trays();
        Ok(())
    }

    /// Closes a tray.
    ///
    /// # Errors
    /// A drive that is not there, or has no tray.
    pub(crate) fn close_tray(&mut self, name: DriveName<'_>) -> Result<(), QmpError> {
        let drive = self.drive_of(name)?;
        let closed = drive.unit.close_tray();
        closed.map_err(|error| explain(name, error))?;
        self.tell_trays();
        Ok(())
    }

    /// Takes the medium out of an open tray.
    ///
    /// # Errors
    /// A drive that is not there, and what its tray does not allow.
    pub(crate) fn remove_medium(&mut self, name: DriveName<'_>) -> Result<(), QmpError> {
        let drive = self.drive_of(name)?;
        let removed = drive.unit.remove_medium();
        removed.map_err(|error| explain(name, error))?;
        let taken_out = drive.plugged.drive.take();
        drive.handle.media_changed();
        if let Some(id) = taken_out.map(|drive| drive.options.id) {
            self.backends.drives.drop_medium(&id);
        }
        Ok(())
    }

    /// Puts the drive `medium` into an open tray.
    ///
    /// # Errors
    /// Drives that are not there or in use, a medium that does not fit, and what the tray does not
    /// allow.
    pub(crate) fn insert_medium(
        &mut self,
        name: DriveName<'_>,
        medium: &str,
    ) -> Result<(), QmpError> {
        let medium = self.backends.drives.take(INSERT, "node-name", medium)?;
        let drive = self.drive_of(name)?;
        let storage = unit_storage(&medium, true)?;
        let inserted = drive.unit.insert_medium(storage);
        inserted.map_err(|error| refused_unit(INSERT, Some(&medium), &error))?;
        drive.plugged.drive = Some(medium);
        Ok(())
    }

    /// Opens the tray, takes out what is in it, and puts the medium of `options` in, if there are
    /// any.
    ///
    /// # Errors
    /// As those of the steps.
    pub(crate) fn change_medium(
        &mut self,
        name: DriveName<'_>,
        options: Option<&DriveOptions>,
        force: bool,
    ) -> Result<(), QmpError> {
        let Some(options) = options else {
            return self.exchange(name, None, force);
        };
        let Backends { drives, host, .. } = &mut self.backends;
        drives.add_medium(options, &host.files)?;
        let changed = self.exchange(name, Some(&options.id), force);
        if changed.is_err() {
            self.backends.drives.drop_medium(&options.id);
        }
        changed
    }

    fn exchange(
        &mut self,
        name: DriveName<'_>,
        medium: Option<&str>,
        force: bool,
    ) -> Result<(), QmpError> {
        self.open_tray(name, force)?;
        // The name of what is in it changes with it.
        let path = self.drive_of(name)?.plugged.path.clone();
        let name = DriveName {
            id: Some(&path),
            device: None,
        };
        self.remove_medium(name)?;
        let Some(medium) = medium else {
            return Ok(());
        };
        self.insert_medium(name, medium)?;
        self.close_tray(name)
    }

    /// Tells monitors of trays that have moved, whoever moved them.
    pub(super) fn tell_trays(&mut self) {
        let moved = self.hardware.pci.departures().take_trays();
        for (id, device, open) in self.tray_news.due(moved, Instant::now()) {
            let data = json!({"device": device, "id": id, "tray-open": open});
            self.tell(&Event::new("DEVICE_TRAY_MOVED", data));
        }
    }

    fn drive_of(&mut self, name: DriveName<'_>) -> Result<Found<'_>, QmpError> {
        let named = name.id.or(name.device);
        let named =
            named.ok_or_else(|| QmpError::generic("Need exactly one of 'device' and 'id'"))?;
        let is_meant = |unit: &PluggedUnit| match name.id {
            Some(id) => unit.path == path_of(id),
            None => unit
                .drive
                .as_ref()
                .is_some_and(|drive| drive.options.id == named),
        };
        let mut devices = self.hardware.devices.iter_mut();
        let found = devices.find_map(|device| {
            let Control::Scsi(handle, units) = &mut device.control else {
                return None;
            };
            let plugged = units.iter_mut().find(|unit| is_meant(unit))?;
            let unit = handle.unit(plugged.address)?;
            Some(Found {
                handle,
                plugged,
                unit,
            })
        });
        found.ok_or_else(|| QmpError::no_device(named))
    }
}

fn explain(name: DriveName<'_>, error: TrayError) -> QmpError {
    let name = name.id.or(name.device).unwrap_or_default();
    QmpError::generic(match error {
        TrayError::NotRemovable => format!("Device '{name}' is not removable"),
        TrayError::Locked => format!(
            "Device '{name}' is locked and force was not specified, wait for tray to open and try \
             again"
        ),
        TrayError::Closed => format!("Tray of device '{name}' is not open"),
        error => error.to_string(),
    })
}

const INSERT: &str = "blockdev-insert-medium";
