//! `virtio-blk`: a disk on a `-drive`.

use std::io;

use virtio_blk::{Blk, BlkError, BlkProps, Resizer, Zones};

use super::plugged::backend_path;
use super::virtio::{Device, Model, ModelProps, bad_property};
use super::{Control, Parts};
use crate::backends::Backends;
use crate::drive::Drive;
use crate::options::{BadOption, DriveOptions};
use crate::storage::storage;

pub(super) const MODEL: Model = Model {
    help: "a disk, on a -drive",
    props: || Box::new(BlkProps::default()),
};

impl ModelProps for BlkProps {
    fn device(&mut self, option: &str, parts: &mut Parts<'_>) -> Result<Device, BadOption> {
        if self.num_queues == Self::AUTO_QUEUES {
            self.num_queues = parts.cpus.into();
        }
        let Some(id) = &self.drive else {
            let accepted = "the id of a -drive";
            return Err(BadOption::property(
                option, "drive", "", "missing", accepted,
            ));
        };
        let drive = parts.backends.drives.take(option, "drive", id)?;
        let zones = drive
            .zones()
            .map_err(|error| bad_zones(&drive.options, &error))?;
        let path = backend_path(&parts.path);
        let made = make(self, (&drive, &path), parts.backends, zones);
        match made {
            Ok((device, resizer)) => {
                let resize = Box::new(move |size| resizer.resize(size));
                parts.backends.drives.keep_resizer(id, resize);
                parts.control = Control::Blk(drive);
                Ok(device)
            }
            Err(BlkError::Property(error)) => Err(bad_property(option, error)),
            Err(error) => Err(refused(&drive.options, &error)),
        }
    }
}

fn make(
    props: &BlkProps,
    (drive, path): (&Drive, &str),
    backends: &Backends,
    zones: Option<Zones>,
) -> Result<(Device, Resizer), BlkError> {
    let storage = storage(drive, false)?;
    let mut device = match zones {
        Some(zones) => Blk::zoned(props, storage, zones)?,
        None => Blk::new(props, storage)?,
    };
    if let Some(incidents) = backends.incidents() {
        let policy = Drive::errors(Some(drive), props.rerror, props.werror);
        device = device.judged(policy, incidents.witness(path));
    }
    let resizer = device.resizer();
    Ok((Box::new(device), resizer))
}

fn refused(options: &DriveOptions, error: &BlkError) -> BadOption {
    let path = options.source.to_string();
    let (why, accepted) = match error {
        BlkError::InUse => (
            "in use elsewhere".to_owned(),
            "an image that nobody else has open, or share-rw=on for all its devices",
        ),
        BlkError::Length { size, multiple } => (
            format!("size {size} is not a multiple of {multiple}"),
            "an image of whole logical blocks",
        ),
        BlkError::Zones => (
            "its zones are not of whole logical blocks".to_owned(),
            "x-zoned.zone_size and x-zoned.zone_capacity of such",
        ),
        error => (error.to_string(), "a raw image"),
    };
    BadOption::property("-drive", "file", &path, why, accepted)
}

fn bad_zones(options: &DriveOptions, error: &io::Error) -> BadOption {
    let record = options
        .zoning
        .as_ref()
        .map(|zoning| zoning.record.as_deref().unwrap_or_else(|| "".as_ref()));
    let Some(record) = record else {
        let (path, accepted) = (options.source.to_string(), HOST_ZONES);
        return BadOption::property("-drive", "file", &path, error, accepted);
    };
    let path = record.display().to_string();
    let accepted = "zones that the disk consists of, and a record of its own";
    BadOption::property("-drive", "x-zoned.record", &path, error, accepted)
}

const HOST_ZONES: &str = "a host-managed device, conventional zones first, with cache=none";
