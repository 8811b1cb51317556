//! What monitors name: devices, and what sits on them, by an identifier or by a path among QEMU's objects; drives by
//! the device that has them.

use virtio_scsi::ScsiHandle;
use virtio_serial::SerialHandle;

use super::Machine;
use crate::backends::path_of;
use crate::devices::{Control, PluggedPort, PluggedUnit};
use crate::drive::Drive;
use crate::qmp::QmpError;
use crate::storage::Storage;

impl Machine {
    /// The drive `device`, or that of the device `id`, which may be a path.
    ///
    /// # Errors
    /// A drive or device that is not there.
    pub(crate) fn drive_named(
        &self,
        device: Option<&str>,
        id: Option<&str>,
    ) -> Result<&Drive, QmpError> {
        let drive = match device {
            Some(drive) => self.backends.drives.find(drive),
            None => id.and_then(|id| self.drive_at(&path_of(id))),
        };
        drive.ok_or_else(|| QmpError::no_device(device.or(id).unwrap_or_default()))
    }

    /// The drive of the disk at `path`.
    fn drive_at(&self, path: &str) -> Option<&Drive> {
        let mut devices = self.hardware.devices.iter();
        devices.find_map(|device| match &device.control {
            Control::Blk(own) if device.is_at(path) => Some(own),
            Control::Scsi(_, units) => {
                let unit = units.iter().find(|unit| unit.path == path)?;
                unit.drive.as_ref()
            }
            _ => None,
        })
    }

    /// What QEMU calls the device that has a drive: its identifier, or its path if it has none.
    pub(crate) fn user_of(&self, drive: &str) -> Option<String> {
        let mut devices = self.hardware.devices.iter();
        devices.find_map(|device| match &device.control {
            Control::Blk(own) if own.options.id == drive => Some(device.backend_path()),
            Control::Scsi(_, units) => {
                let mut units = units.iter();
                let unit = units.find(|unit| {
                    let own = unit.drive.as_ref();
                    own.is_some_and(|own| own.options.id == drive)
                })?;
                Some(unit.id.as_ref().unwrap_or(&unit.path).clone())
            }
            _ => None,
        })
    }

    /// Whether there is a device, a port or a unit at `path`.
    pub(super) fn has_device(&mut self, path: &str) -> bool {
        let mut devices = self.hardware.devices.iter();
        devices.any(|device| device.path == path)
            || self.port_mut(path).is_some()
            || self.unit_mut(path).is_some()
    }

    /// The port at `path`, and the means to change the ports of its device.
    pub(super) fn port_mut(&mut self, path: &str) -> Option<(&SerialHandle, &mut PluggedPort)> {
        let mut devices = self.hardware.devices.iter_mut();
        devices.find_map(|device| {
            let Control::Serial(handle, ports) = &mut device.control else {
                return None;
            };
            let port = ports.iter_mut().find(|port| port.path == path);
            Some((&*handle, port?))
        })
    }

    /// The unit at `path`, and the means to change those of its device.
    pub(super) fn unit_mut(
        &mut self,
        path: &str,
    ) -> Option<(&ScsiHandle<Storage>, &mut PluggedUnit)> {
        let mut devices = self.hardware.devices.iter_mut();
        devices.find_map(|device| {
            let Control::Scsi(handle, units) = &mut device.control else {
                return None;
            };
            let unit = units.iter_mut().find(|unit| unit.path == path);
            Some((&*handle, unit?))
        })
    }
}
