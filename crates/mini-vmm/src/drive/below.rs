//! What a drive is opened of: files, and drives that there are.

use std::fmt::Display;
use std::fs::File;
use std::io;
use std::sync::Arc;

use guest_io::{Access, lock};
use rustix::fs::OFlags;
use virtio_blk::ZoneLimits;

use super::{Drive, Drives, FEWER, open};
use crate::files::Files;
use crate::options::{Backing, BadOption, DriveOptions, DriveSource, Place, Throttling};
use crate::qcow2;

/// What a drive is opened of.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    /// Opens files.
    pub files: &'a Files,
    /// The drives there are.
    pub drives: &'a Drives,
}

impl Around<'_> {
    /// The file of a drive, and what the host tells of its zones, if that has to be written in such.
    pub(super) fn file(
        &self,
        options: &DriveOptions,
        place: &Place,
    ) -> Result<(File, Option<ZoneLimits>), BadOption> {
        match place {
            Place::Path(path) => open(options, self.files, path),
            Place::Node(id) => self.file_of("file", id, options.read_only),
        }
    }

    /// A drive that is all that the drive `id` is, below limits of its own.
    pub(super) fn drive_above(&self, options: &DriveOptions, id: &str) -> Result<Drive, BadOption> {
        let below = self.free("file", id)?;
        let refused = |why, accepted| Err(bad("file", id, why, accepted));
        if below.is_zoned() {
            return refused("zoned", "a drive without zones");
        }
        if below.options.read_only && !options.read_only {
            return refused("read-only", READ_ONLY);
        }
        let file = below
            .file()
            .map_err(|error| bad("file", id, error, FEWER))?;
        Ok(Drive {
            options: DriveOptions {
                cache: below.options.cache,
                discard: below.options.discard,
                ..options.clone()
            },
            file: Arc::new(file),
            format: below.format.clone(),
            record: None,
            limits: None,
            member: Arc::default(),
            group: None,
        })
    }

    /// What a qcow2 image reads where it has nothing itself. A raw image may be written by a device
    /// yet, which then has to go before one has the drive above.
    pub(super) fn backing(&self, backing: &Backing) -> Result<qcow2::Backing, BadOption> {
        let id = match backing {
            Backing::Inline(source) => return self.inline(source),
            Backing::Node(id) => id,
        };
        let drive = self.drive(BACKING, id)?;
        let refused = |error: io::Error| bad(BACKING, id, error, IMAGE);
        match &drive.options.source {
            DriveSource::Node(_) => Err(bad(BACKING, id, LIMITED, "the node below it")),
            DriveSource::Null(_) => Ok(qcow2::Backing::Zeroes),
            DriveSource::File(_) => {
                let claimed = drive.is_used() || self.drives.is_below(id);
                let claim = || lock(&drive.file, Access::Read);
                let claimed = if claimed { Ok(()) } else { claim() };
                let file = claimed.and_then(|()| drive.file());
                file.map(qcow2::Backing::Raw).map_err(refused)
            }
            DriveSource::Qcow2(..) if drive.is_used() => Err(in_use(BACKING, id)),
            DriveSource::Qcow2(_, below) => {
                let file = drive.settled().map_err(refused)?;
                self.qcow2(file, below.as_deref())
            }
        }
    }

    fn inline(&self, source: &DriveSource) -> Result<qcow2::Backing, BadOption> {
        match source {
            DriveSource::Node(id) => self.backing(&Backing::Node(id.clone())),
            DriveSource::Null(_) => Ok(qcow2::Backing::Zeroes),
            DriveSource::File(place) => self.read_only(place).map(qcow2::Backing::Raw),
            DriveSource::Qcow2(place, below) => {
                self.qcow2(self.read_only(place)?, below.as_deref())
            }
        }
    }

    fn qcow2(&self, file: File, below: Option<&Backing>) -> Result<qcow2::Backing, BadOption> {
        let below = below.map(|below| self.backing(below)).transpose()?;
        Ok(qcow2::Backing::Qcow2(file, below.map(Box::new)))
    }

    /// A file that is only read, and that nobody writes.
    fn read_only(&self, place: &Place) -> Result<File, BadOption> {
        let path = match place {
            Place::Path(path) => path,
            Place::Node(id) => return Ok(self.file_of("backing.file", id, true)?.0),
        };
        let file = self.files.open(path, OFlags::RDONLY);
        let file = file.and_then(|file| lock(&file, Access::Read).map(|()| file));
        let path = path.display().to_string();
        file.map_err(|error| bad("backing.file.filename", &path, error, IMAGE))
    }

    /// The file of another drive, which is nothing by itself then.
    fn file_of(
        &self,
        key: &str,
        id: &str,
        read_only: bool,
    ) -> Result<(File, Option<ZoneLimits>), BadOption> {
        let drive = self.free(key, id)?;
        let refused = |why, accepted| Err(bad(key, id, why, accepted));
        match &drive.options {
            options if matches!(options.throttling, Throttling::Group(_)) => {
                refused(LIMITED, "the node below it")
            }
            options if !matches!(options.source, DriveSource::File(_)) => {
                refused("no file", "the node-name of a -blockdev file")
            }
            options if options.read_only && !read_only => refused("read-only", READ_ONLY),
            _ => {
                let file = drive.file().map_err(|error| bad(key, id, error, FEWER))?;
                Ok((file, drive.limits))
            }
        }
    }

    /// A drive that neither a device has nor another drive is above.
    fn free(&self, key: &str, id: &str) -> Result<&Drive, BadOption> {
        match self.drive(key, id)? {
            drive if drive.is_used() || self.drives.is_below(id) => Err(in_use(key, id)),
            drive => Ok(drive),
        }
    }

    fn drive(&self, key: &str, id: &str) -> Result<&Drive, BadOption> {
        let missing = || bad(key, id, "no such node", "the node-name of a -blockdev");
        self.drives.find(id).ok_or_else(missing)
    }
}

fn in_use(key: &str, id: &str) -> BadOption {
    bad(key, id, "already in use", "another -blockdev")
}

fn bad(key: &str, value: &str, why: impl Display, accepted: &str) -> BadOption {
    BadOption::property("-blockdev", key, value, why, accepted)
}

const BACKING: &str = "backing";
const LIMITED: &str = "a throttle node, which is above all others";
const READ_ONLY: &str = "read-only=on, or a file that is written";
const IMAGE: &str = "an image that nobody writes";
