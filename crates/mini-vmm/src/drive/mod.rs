//! Disk images: opened and checked as `-drive` says. The device that takes one locks it.

mod below;
mod drives;
mod groups;
mod zones;

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustix::fs::OFlags;
use virtio_blk::{BlkError, ErrorPolicy, ThrottleGroup, ThrottleMember, ZoneLimits};
use virtio_device::props::OnErrorAuto;

use crate::files::Files;
use crate::options::{Backing, BadOption, Cache, DriveOptions, DriveSource};
use crate::qcow2::Qcow2Image;
pub use below::Around;
pub use drives::Drives;
pub use groups::Groups;

/// Tells the device that has a drive of another size, in bytes.
pub type Resize = Box<dyn Fn(u64) -> Result<(), BlkError> + Send>;

/// An open drive. Its clones are the same drive, and count as users of it.
#[derive(Clone, Debug)]
pub struct Drive {
    /// How it is to be used.
    pub options: DriveOptions,
    file: Arc<File>,
    format: Format,
    /// That of its zones.
    record: Option<Arc<File>>,
    /// What the host says of zones that are its own.
    limits: Option<ZoneLimits>,
    member: Arc<ThrottleMember>,
    /// The name of the group that it keeps to the limits of.
    group: Option<String>,
}

/// What the bytes of a drive's file are.
#[derive(Clone, Debug)]
pub enum Format {
    /// The disk.
    Raw,
    /// An image in QEMU's format.
    Qcow2(Qcow2Image),
    /// Zeroes without end, of which the disk has so many.
    Null(u64),
}

impl Drive {
    /// Opens the drive of `options`, of what is `around`.
    ///
    /// # Errors
    /// A file that cannot be opened, or that is no image of its format, under the option's name.
    pub fn open(options: &DriveOptions, around: &Around<'_>) -> Result<Self, BadOption> {
        let (file, limits, format) = match &options.source {
            DriveSource::Node(id) => return around.drive_above(options, id),
            DriveSource::File(place) => {
                let (file, limits) = around.file(options, place)?;
                (file, limits, Format::Raw)
            }
            DriveSource::Qcow2(place, backing) => {
                let (file, limits) = around.file(options, place)?;
                zones::refuse(options, limits)?;
                let image = qcow2(options, around, &file, backing.as_deref())?;
                (file, None, Format::Qcow2(image))
            }
            DriveSource::Null(size) => {
                let file = around.drives.zeroes.file()?;
                (file, None, Format::Null(*size))
            }
        };
        Ok(Self {
            options: options.clone(),
            record: zones::record(options, around.files)?.map(Arc::new),
            limits,
            file: Arc::new(file),
            format,
            member: Arc::default(),
            group: None,
        })
    }

    /// A descriptor of its own for a device: the image, or zeroes without end.
    ///
    /// # Errors
    /// A host without descriptors to give.
    pub fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// What the file's bytes are.
    pub fn format(&self) -> &Format {
        &self.format
    }

    /// Its place among those whose limits it shares.
    pub fn member(&self) -> &Arc<ThrottleMember> {
        &self.member
    }

    /// The group that it keeps to the limits of, and the name of that.
    pub fn group(&self) -> Option<(&str, Arc<ThrottleGroup>)> {
        Some((self.group.as_deref()?, self.member.group()?))
    }

    /// Has it keep to the limits of `group`.
    fn join(&mut self, group: Option<(String, Arc<ThrottleGroup>)>) {
        let (name, group) = group.unzip();
        self.group = name;
        self.member.join(group);
    }

    /// What is done about requests that `drive` fails, where its device says `read` and `write`.
    /// Without a drive there may be one later.
    pub fn errors(drive: Option<&Self>, read: OnErrorAuto, write: OnErrorAuto) -> ErrorPolicy {
        let own = drive.map(|drive| drive.options.errors).unwrap_or_default();
        ErrorPolicy {
            read: read.0.unwrap_or(own.read),
            write: write.0.unwrap_or(own.write),
        }
    }

    /// Gives it `size` bytes, and the device behind `resizer` as well. The image is never shorter
    /// than the disk.
    ///
    /// # Errors
    /// A size that is no number of whole blocks, a drive that is not written, or a host that
    /// refuses.
    pub fn resize(&mut self, resizer: Option<&Resize>, size: u64) -> Result<(), BlkError> {
        if self.options.read_only {
            return Err(io::Error::from(io::ErrorKind::ReadOnlyFilesystem).into());
        }
        if self.is_zoned() {
            return Err(io::Error::from(io::ErrorKind::Unsupported).into());
        }
        if !size.is_multiple_of(SECTOR) {
            let multiple = SECTOR as u32;
            return Err(BlkError::Length { size, multiple });
        }
        let resize_device = || resizer.map_or(Ok(()), |resizer| resizer(size));
        if size < self.size()? {
            resize_device()?;
            self.set_size(size)?;
        } else {
            self.set_size(size)?;
            resize_device()?;
        }
        Ok(())
    }

    /// Size in bytes, now.
    ///
    /// # Errors
    /// Where the host cannot tell.
    pub fn size(&self) -> io::Result<u64> {
        match &self.format {
            Format::Raw => guest_io::Disk::new(self.file()?)?.size(),
            Format::Null(size) => Ok(*size),
            Format::Qcow2(image) => Ok(image.size()),
        }
    }

    /// The file of a qcow2 image, with all that was written to the image.
    fn settled(&self) -> io::Result<File> {
        if let Format::Qcow2(image) = &self.format {
            image.settle()?;
        }
        self.file()
    }

    fn set_size(&mut self, size: u64) -> io::Result<()> {
        match &mut self.format {
            Format::Raw => self.file.set_len(size),
            Format::Qcow2(image) => image.resize(size),
            Format::Null(bytes) => {
                *bytes = size;
                Ok(())
            }
        }
    }

    /// Whether a device has it.
    pub fn is_used(&self) -> bool {
        Arc::strong_count(&self.file) > 1
    }
}

/// `/dev/zero`, opened while files can be.
#[derive(Debug, Default)]
pub struct Zeroes(OnceLock<File>);

impl Zeroes {
    /// Opens it, if that was not done yet.
    ///
    /// # Errors
    /// A host that does not have it, or a process that may open no files.
    pub fn open(&self) -> Result<&File, BadOption> {
        if let Some(file) = self.0.get() {
            return Ok(file);
        }
        let file = File::open(ZEROES)
            .map_err(|error| BadOption::value("-drive", ZEROES, error, "a host that has it"))?;
        Ok(self.0.get_or_init(|| file))
    }

    fn file(&self) -> Result<File, BadOption> {
        let clone = self.open()?.try_clone();
        clone.map_err(|error| BadOption::value("-drive", ZEROES, error, FEWER))
    }
}

/// Opens a file, and says what the host tells of its zones, if that has to be written in such.
fn open(
    options: &DriveOptions,
    files: &Files,
    path: &Path,
) -> Result<(File, Option<ZoneLimits>), BadOption> {
    let bad = |why: &dyn std::fmt::Display, accepted: &str| {
        let path = path.display().to_string();
        BadOption::property("-drive", "file", &path, why, accepted)
    };
    let mut flags = match options.read_only {
        true => OFlags::RDONLY,
        false => OFlags::RDWR,
    };
    flags.set(OFlags::DIRECT, options.cache == Cache::None);
    let file = files.open(path, flags);
    let file = file.map_err(|error| bad(&error, accepted_file(options)))?;
    let disk = file.try_clone().and_then(guest_io::Disk::new);
    let facts = disk.and_then(|disk| Ok((disk.size()?, disk.zone_size()?)));
    let (size, zones) = facts.map_err(|error| bad(&error, IMAGE))?;
    let raw = matches!(options.source, DriveSource::File(_));
    if raw && size % SECTOR != 0 {
        return Err(bad(
            &format_args!("size {size} is not a multiple of {SECTOR}"),
            IMAGE,
        ));
    }
    let limits = zones.and_then(|_| zones::limits(&file, files));
    Ok((file, limits))
}

/// Opens the format inside of `file`, above `backing`.
fn qcow2(
    options: &DriveOptions,
    around: &Around<'_>,
    file: &File,
    backing: Option<&Backing>,
) -> Result<Qcow2Image, BadOption> {
    let backing = backing.map(|backing| around.backing(backing));
    let backing = backing.transpose()?;
    let own = file.try_clone();
    let image = own.and_then(|file| Qcow2Image::open(file, options.read_only, backing));
    let image = image.map_err(|error| {
        let path = options.source.to_string();
        BadOption::property("-drive", "file", &path, error, "a qcow2 image of its own")
    })?;
    Ok(image
        .write_through(options.cache == Cache::WriteThrough)
        .discard(options.discard))
}

fn accepted_file(options: &DriveOptions) -> &'static str {
    match options.read_only {
        true => "a file or block device that can be read",
        false => "a file or block device that can be read and written, or readonly=on",
    }
}

const ZEROES: &str = "/dev/zero";
const SECTOR: u64 = 512;
const FEWER: &str = "fewer drives";
const IMAGE: &str = "a raw image of whole 512-byte sectors";

#[cfg(test)]
mod tests {
    use imago::FormatCreateBuilder;
    use imago::qcow2::Qcow2;
    use vmm_sys_util::tempdir::TempDir;

    use super::*;

    fn try_open(path: &Path, more: &str) -> Result<Drive, String> {
        let text = format!("id=d0,file={}{more}", path.display());
        let options = DriveOptions::parse(&text, 0).unwrap();
        let around = Around {
            files: &Files::default(),
            drives: &Drives::default(),
        };
        let drive = Drive::open(&options, &around);
        drive.map_err(|error| error.to_string())
    }

    fn image(dir: &TempDir, size: u64) -> std::path::PathBuf {
        let path = dir.as_path().join(format!("image{size}"));
        File::create(&path).unwrap().set_len(size).unwrap();
        path
    }

    #[test]
    fn what_is_no_raw_image_is_refused() {
        let dir = TempDir::new().unwrap();
        let error = try_open(&image(&dir, 1000), "").unwrap_err();
        assert!(
            error.contains("size 1000 is not a multiple of 512"),
            "{error}"
        );
        let missing = try_open(&dir.as_path().join("none"), "").unwrap_err();
        assert!(missing.contains("No such file"), "{missing}");
        assert!(
            try_open(dir.as_path(), "")
                .unwrap_err()
                .contains("directory")
        );
        assert!(try_open(dir.as_path(), ",readonly=on").is_err());
    }

    #[test]
    fn a_qcow2_image_may_end_within_a_sector() {
        let dir = TempDir::new().unwrap();
        let path = image(&dir, 0);
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let storage = imago::file::File::try_from(file.try_clone().unwrap()).unwrap();
        let builder = Qcow2::<imago::file::File>::create_builder(storage);
        builder.size(1 << 20).create().unwrap();
        let len = file.metadata().unwrap().len();
        file.set_len(len.next_multiple_of(SECTOR) + 8).unwrap();
        let drive = try_open(&path, ",format=qcow2").unwrap();
        assert_eq!(drive.size().unwrap(), 1 << 20);
        let error = try_open(&path, "").unwrap_err();
        assert!(error.contains("is not a multiple of 512"), "{error}");
    }

    #[test]
    fn a_drive_of_zones_keeps_a_record_and_its_size() {
        let dir = TempDir::new().unwrap();
        let (path, record) = (image(&dir, 4 << 20), dir.as_path().join("record"));
        let zoned = |size| {
            let record = record.display();
            try_open(
                &path,
                &format!(",x-zoned.zone_size={size},x-zoned.record={record}"),
            )
        };
        let mut drive = zoned("1M").unwrap();
        assert_eq!(drive.zones().unwrap().unwrap().count(), 4);
        assert_eq!(record.metadata().unwrap().len(), 32 + 4 * 8);
        assert!(drive.resize(None, 8 << 20).is_err());
        drop(drive);
        let error = zoned("3M").unwrap().zones().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let error = zoned("2M").unwrap().zones().unwrap_err();
        assert_eq!(
            error.kind(),
            io::ErrorKind::InvalidData,
            "a record of others"
        );
        assert!(try_open(&path, "").unwrap().zones().unwrap().is_none());
    }
}
