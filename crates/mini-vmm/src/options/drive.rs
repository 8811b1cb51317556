//! `-drive` and `-blockdev`: disks on the host.

use std::fmt;
use std::path::PathBuf;

use super::keyval::Key;
use virtio_blk::ErrorPolicy;
use virtio_device::props::{OnErrorAuto, PropValue};

use super::{BadOption, KeyVals, Throttling, Zoning, help, throttling, values, zoning};

/// One `-drive` or `-blockdev`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriveOptions {
    /// Its identifier, which a device's `drive` property refers to.
    pub id: String,
    /// Where its sectors are.
    pub source: DriveSource,
    /// Refuses the guest's writes; several readers may share the image.
    pub read_only: bool,
    /// Caching on the host.
    pub cache: Cache,
    /// Hands the guest's discards to the host.
    pub discard: bool,
    /// How much it may do in a second.
    pub throttling: Throttling,
    /// What is done about requests that it fails, unless its device says otherwise.
    pub errors: ErrorPolicy,
    /// How it is divided into zones, if it is.
    pub zoning: Option<Zoning>,
    /// Is a disk by itself, a `virtio-blk-pci`, without a `-device` (`if=virtio`).
    pub disk: bool,
}

/// Where the sectors of a drive are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DriveSource {
    /// In a raw image or a block device.
    File(Place),
    /// In a qcow2 image, above what the image itself has not got, if anything.
    Qcow2(Place, Option<Box<Backing>>),
    /// Nowhere: this many bytes that read as zeroes, whatever is written (QEMU's `null-co`).
    Null(u64),
    /// It is all that another drive is.
    Node(String),
}

/// Where a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// At this path.
    Path(PathBuf),
    /// It is that of another drive.
    Node(String),
}

/// What is under a qcow2 image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backing {
    /// Another drive.
    Node(String),
    /// What no drive has.
    Inline(DriveSource),
}

/// Caching on the host, in QEMU's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// Page cache; the guest flushes.
    WriteBack,
    /// Page cache; each write is on the medium before it completes.
    WriteThrough,
    /// No page cache (O_DIRECT); the guest flushes.
    None,
}

impl DriveOptions {
    /// Parses the value of the `-drive` number `index`, which is part of its identifier where it has
    /// none and needs none.
    pub fn parse(text: &str, index: usize) -> Result<Self, BadOption> {
        let mut kv = KeyVals::parse(DRIVE, text, None);
        kv.check(&keys())?;
        let format = kv.take_word("format", &["raw", "qcow2"])?;
        let disk = kv.take_word("if", &["none", "virtio"])? == "virtio";
        let id = match kv.take("id") {
            None if disk => format!("virtio{index}"),
            id => id.unwrap_or_default(),
        };
        if id.is_empty() {
            let accepted = "an identifier, or if=virtio";
            return Err(BadOption::property(DRIVE, "id", "", "missing", accepted));
        }
        kv.take_switch("auto-read-only", false)?;
        let size = null_size(&mut kv, "file.size")?;
        check_null(&mut kv, NULL_KEYS)?;
        let file = kv.require("file", "the path of an image")?;
        let backing = backing(&mut kv)?;
        let source = match format {
            "qcow2" => DriveSource::Qcow2(file.into(), backing),
            _ => source(&file, size),
        };
        let recorded = !matches!(source, DriveSource::Null(_));
        Ok(Self {
            id: values::identifier(DRIVE, &id)?,
            source,
            read_only: kv.take_switch("readonly", false)?,
            cache: cache(kv.take_word("cache", &["writeback", "writethrough", "none"])?),
            discard: discards(&mut kv)?,
            throttling: Throttling::take(&mut kv)?,
            errors: errors(&mut kv)?,
            zoning: zoning::take(&mut kv, recorded)?,
            disk,
        })
    }

    /// What `-drive help` prints.
    pub fn help() -> String {
        let head = "Drives (-drive id=ID,file=PATH[,...]):\n";
        head.to_owned() + &help::keys(&keys(), 2)
    }
}

impl DriveSource {
    /// The drives that it is made of, from above.
    pub fn nodes(&self) -> Vec<&str> {
        match self {
            Self::Null(_) => Vec::new(),
            Self::Node(id) => vec![id],
            Self::File(place) => place.node().into_iter().collect(),
            Self::Qcow2(place, backing) => {
                let below = backing.iter().flat_map(|backing| match &**backing {
                    Backing::Node(id) => vec![id.as_str()],
                    Backing::Inline(source) => source.nodes(),
                });
                place.node().into_iter().chain(below).collect()
            }
        }
    }
}

impl Place {
    /// The drive whose file it is.
    pub fn node(&self) -> Option<&str> {
        match self {
            Self::Path(_) => None,
            Self::Node(id) => Some(id),
        }
    }
}

impl fmt::Display for DriveSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(place) | Self::Qcow2(place, _) => place.fmt(f),
            Self::Null(_) => f.write_str(NULL),
            Self::Node(id) => f.write_str(id),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Node(id) => f.write_str(id),
        }
    }
}

impl<P: Into<PathBuf>> From<P> for Place {
    fn from(path: P) -> Self {
        Self::Path(path.into())
    }
}

/// A path, or one of QEMU's names for zeroes.
fn source(file: &str, size: u64) -> DriveSource {
    match file.strip_prefix("blkdebug::").unwrap_or(file) {
        NULL => DriveSource::Null(size),
        _ => DriveSource::File(file.into()),
    }
}

fn backing(kv: &mut KeyVals) -> Result<Option<Box<Backing>>, BadOption> {
    let format = kv.take_word("backing.driver", &["raw", "qcow2"])?;
    let file = kv.take("backing.file.filename").map(Place::from);
    Ok(file.map(|file| {
        Box::new(Backing::Inline(match format {
            "qcow2" => DriveSource::Qcow2(file, None),
            _ => DriveSource::File(file),
        }))
    }))
}

/// Bytes of a disk of zeroes.
pub(super) fn null_size(kv: &mut KeyVals, key: &str) -> Result<u64, BadOption> {
    match kv.take(key) {
        None => Ok(NULL_SIZE),
        Some(text) => values::size(kv.option(), Some(key), &text, 1),
    }
}

/// Accepts what a disk of zeroes does in any case.
pub(super) fn check_null(kv: &mut KeyVals, switches: &[&str]) -> Result<(), BadOption> {
    for key in switches {
        kv.take_switch(key, true)?;
    }
    Ok(())
}

fn cache(word: &str) -> Cache {
    match word {
        "writethrough" => Cache::WriteThrough,
        "none" => Cache::None,
        _ => Cache::WriteBack,
    }
}

fn errors(kv: &mut KeyVals) -> Result<ErrorPolicy, BadOption> {
    let default = ErrorPolicy::default();
    let meant = |word| OnErrorAuto::parse(word).and_then(|given| given.0);
    let read = kv.take_word("rerror", &["report", "ignore", "stop"])?;
    let write = kv.take_word("werror", &["enospc", "report", "ignore", "stop"])?;
    Ok(ErrorPolicy {
        read: meant(read).unwrap_or(default.read),
        write: meant(write).unwrap_or(default.write),
    })
}

fn keys() -> Vec<Key> {
    [DRIVE_KEYS, throttling::KEYS].concat()
}

/// Whether discards are handed to the host.
pub(super) fn discards(kv: &mut KeyVals) -> Result<bool, BadOption> {
    let word = kv.take_word("discard", &["ignore", "unmap", "off", "on"])?;
    Ok(matches!(word, "unmap" | "on"))
}

const DRIVE: &str = "-drive";
const NULL: &str = "null-co://";
/// QEMU's default.
const NULL_SIZE: u64 = 1 << 30;
const NULL_KEYS: &[&str] = &["file.read-zeroes", "file.image.read-zeroes"];
const DRIVE_KEYS: &[Key] = &[
    ("id", "identifier, for a device's drive= property"),
    (
        "file",
        "path of an image or a block device; null-co:// for zeroes",
    ),
    (
        "format",
        "raw (default) or qcow2: a format is never guessed",
    ),
    (
        "backing.file.filename",
        "what is under a qcow2 image; nothing is opened by its word alone",
    ),
    ("backing.driver", "its format, raw (default) or qcow2"),
    (
        "if",
        "none (default): a -device uses it; virtio: it is a virtio-blk-pci by itself",
    ),
    ("readonly", "on: refuse writes (default off)"),
    ("cache", "writeback (default), writethrough or none"),
    (
        "discard",
        "unmap: hand discards to the host; ignore (default)",
    ),
    (
        "rerror",
        "failed reads: report (default) to the guest, ignore, or stop the machine",
    ),
    (
        "werror",
        "failed writes: likewise, or enospc (default): stop for a full disk, else report",
    ),
    (
        zoning::SIZE,
        "bytes of a zone: the disk is a host-managed zoned one",
    ),
    (
        zoning::CAPACITY,
        "bytes of a zone that are written (default: all)",
    ),
    (
        zoning::CONVENTIONAL,
        "conventional zones, at the start (default 0)",
    ),
    (
        zoning::MAX_OPEN,
        "zones open at a time, 0 (default): no limit",
    ),
    (
        zoning::MAX_ACTIVE,
        "zones open or closed at a time, 0 (default): no limit",
    ),
    (zoning::RECORD, "file that keeps how far zones are written"),
    ("file.size", "bytes of a disk of zeroes (default 1G)"),
    ("auto-read-only", ""),
    ("file.align", ""),
    ("file.read-zeroes", ""),
    ("file.image.read-zeroes", ""),
];
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeroes_have_qemus_names() {
        for text in [
            "if=none,id=d,file=null-co://,file.read-zeroes=on,format=raw",
            "if=none,id=d,file=blkdebug::null-co://,file.image.read-zeroes=on,file.align=4k",
        ] {
            let drive = DriveOptions::parse(text, 0).unwrap();
            assert_eq!(drive.source, DriveSource::Null(1 << 30), "{text}");
        }
    }
}
