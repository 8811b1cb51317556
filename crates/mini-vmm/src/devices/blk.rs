//! `virtio-blk`: a disk on a `-drive`.

use virtio_blk::{Blk, BlkError, BlkProps, RawImage};

use super::Parts;
use super::virtio::{Device, Model, ModelProps, bad_property};
use crate::options::{BadOption, Cache, DriveOptions};

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
        let drive = parts.backends.take_drive(option, "drive", id)?;
        let made = RawImage::new(drive.file)
            .map_err(BlkError::from)
            .map(|image| set_up(image, &drive.options))
            .and_then(|image| Blk::new(self, image));
        match made {
            Ok(device) => {
                let resizer = device.resizer();
                parts.backends.keep_resizer(drive.options, resizer);
                Ok(Box::new(device))
            }
            Err(BlkError::Property(error)) => Err(bad_property(option, error)),
            Err(error) => Err(refused(&drive.options, &error)),
        }
    }
}

fn set_up(image: RawImage, options: &DriveOptions) -> RawImage {
    image
        .read_only(options.read_only)
        .write_through(options.cache == Cache::WriteThrough)
        .discard(options.discard)
}

fn refused(options: &DriveOptions, error: &BlkError) -> BadOption {
    let path = options.file.display().to_string();
    let (why, accepted) = match error {
        BlkError::InUse => (
            "in use elsewhere".to_owned(),
            "an image that nobody else has open, or share-rw=on for all its devices",
        ),
        BlkError::Length { size, multiple } => (
            format!("size {size} is not a multiple of {multiple}"),
            "an image of whole logical blocks",
        ),
        error => (error.to_string(), "a raw image"),
    };
    BadOption::property("-drive", "file", &path, why, accepted)
}
