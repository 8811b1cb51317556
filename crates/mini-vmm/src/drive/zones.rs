//! The zones of a drive: those that it is given, or that the host's device has.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use rustix::fs::{OFlags, fstat, major, minor};
use virtio_blk::{ZoneLimits, Zones};

use super::Drive;
use crate::files::Files;
use crate::options::{BadOption, DriveOptions, DriveSource};

impl Drive {
    /// Whether it is zoned.
    pub fn is_zoned(&self) -> bool {
        self.options.zoning.is_some() || self.is_zoned_device()
    }

    /// Whether its zones are those of the host's device, whose writes are made in order and never wait.
    pub fn is_zoned_device(&self) -> bool {
        self.limits.is_some()
    }

    /// Its zones, if it is zoned.
    ///
    /// # Errors
    /// Zones that it cannot have or we cannot use, or a record of others.
    pub fn zones(&self) -> io::Result<Option<Zones>> {
        let zoning = match (&self.options.zoning, self.limits) {
            (None, None) => return Ok(None),
            (None, Some(limits)) => return self.host_zones(limits),
            (Some(_), Some(_)) => return Err(invalid("it has zones of its own")),
            (Some(zoning), None) => zoning,
        };
        let record = self.record.as_ref().map(|file| file.try_clone());
        Zones::new(zoning.layout, self.size()?, record.transpose()?).map(Some)
    }

    fn host_zones(&self, limits: ZoneLimits) -> io::Result<Option<Zones>> {
        if self.group.is_some() {
            return Err(invalid(IN_ORDER));
        }
        let direct = guest_io::Disk::new(self.file()?)?.is_direct();
        match (&self.options.source, direct || self.options.read_only) {
            (DriveSource::File(_), true) => Zones::of_device(self.file()?, limits),
            (DriveSource::File(_), false) => {
                Err(invalid("the page cache does not write zones in order"))
            }
            _ => Ok(None),
        }
    }
}

/// Opens the record of its zones, or makes it.
pub(super) fn record(options: &DriveOptions, files: &Files) -> Result<Option<File>, BadOption> {
    let record = options
        .zoning
        .as_ref()
        .and_then(|zoning| zoning.record.as_ref());
    let open = |path| {
        let file = files.open(path, OFlags::RDWR | OFlags::CREATE);
        file.map_err(|error| {
            let path = path.display().to_string();
            let accepted = "a file that can be read and written";
            BadOption::property("-drive", "x-zoned.record", &path, error, accepted)
        })
    };
    record.map(|path| open(path.as_path())).transpose()
}

/// What the host says of the zones of `file`, a zoned block device, where that has to be written in
/// them. The device itself keeps to limits that the sandbox does not let us read.
pub(super) fn limits(file: &File, files: &Files) -> Option<ZoneLimits> {
    let attribute = |name| attribute(file, files, name).unwrap_or_default();
    let limit = |name| attribute(name).parse().unwrap_or(0);
    (attribute("zoned") != "host-aware").then(|| ZoneLimits {
        max_open: limit("max_open_zones"),
        max_active: limit("max_active_zones"),
    })
}

/// Insists that what is to be written anywhere has no zones.
pub(super) fn refuse(options: &DriveOptions, limits: Option<ZoneLimits>) -> Result<(), BadOption> {
    let (file, why) = (options.source.to_string(), "a zoned device");
    let bad = || BadOption::property("-drive", "file", &file, why, "format=raw for such");
    limits.map_or(Ok(()), |_| Err(bad()))
}

/// An attribute of the queue of a block device.
fn attribute(file: &File, files: &Files, name: &str) -> Option<String> {
    let device = fstat(file).ok()?.st_rdev;
    let (major, minor) = (major(device), minor(device));
    let path = format!("/sys/dev/block/{major}:{minor}/queue/{name}");
    let mut text = String::new();
    let file = files.open(Path::new(&path), OFlags::RDONLY).ok()?;
    file.take(LONGEST).read_to_string(&mut text).ok()?;
    Some(text.trim().to_owned())
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, why)
}

const IN_ORDER: &str = "its zones are written in order, without limits of ours";
/// Bytes of an attribute.
const LONGEST: u64 = 4096;
