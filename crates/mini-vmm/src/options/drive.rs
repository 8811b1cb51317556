//! `-drive` and `-blockdev`: disks on the host.

use std::fmt;
use std::path::PathBuf;

use super::keyval::Key;
use virtio_blk::{ErrorPolicy, Rates};
use virtio_device::props::{OnErrorAuto, PropValue};

use super::{BadOption, KeyVals, Zoning, throttling, values, zoning};

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
    pub rates: Rates,
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
    File(PathBuf),
    /// In a qcow2 image, above another image if it has one.
    Qcow2(PathBuf, Option<BackingSource>),
    /// Nowhere: this many bytes that read as zeroes, whatever is written (QEMU's `null-co`).
    Null(u64),
}

/// The image under a qcow2 image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackingSource {
    /// Where it is.
    pub path: PathBuf,
    /// Whether it is a qcow2 image itself, and not a raw one.
    pub qcow2: bool,
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
        kv.check(DRIVE_KEYS)?;
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
            rates: throttling::take(&mut kv)?,
            errors: errors(&mut kv)?,
            zoning: zoning::take(&mut kv, recorded)?,
            disk,
        })
    }

    /// Parses the value of `-blockdev`, or the arguments of `blockdev-add`: a file, a disk of
    /// zeroes, or either below the format `raw`.
    pub fn blockdev(mut kv: KeyVals) -> Result<Self, BadOption> {
        let below = match kv.take_word("driver", BLOCKDEV_DRIVERS)? {
            "raw" => "file.",
            driver => {
                kv.put("driver", driver);
                ""
            }
        };
        kv.check(BLOCKDEV_KEYS)?;
        let key = |name: &str| format!("{below}{name}");
        let option = kv.option().to_owned();
        let id = kv.require("node-name", "an identifier")?;
        kv.take("file.node-name");
        let driver = kv.take_word(&key("driver"), &["file", "host_device", "null-co"])?;
        let size = null_size(&mut kv, &key("size"))?;
        check_null(&mut kv, &["read-zeroes", "file.read-zeroes"])?;
        let path = key("filename");
        let source = match driver {
            "null-co" => DriveSource::Null(size),
            _ => DriveSource::File(kv.require(&path, "the path of a raw image")?.into()),
        };
        let direct = ["cache.direct", "file.cache.direct"].map(|key| kv.take_switch(key, false));
        let direct = direct.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            id: values::identifier(&option, &id)?,
            source,
            read_only: kv.take_switch("read-only", false)?,
            cache: match direct.contains(&true) {
                true => Cache::None,
                false => Cache::WriteBack,
            },
            discard: discards(&mut kv)?,
            rates: Rates::default(),
            errors: ErrorPolicy::default(),
            zoning: None,
            disk: false,
        })
    }

    /// What `-drive help` prints.
    pub fn help() -> String {
        let mut text = String::from("Drives (-drive id=ID,file=PATH[,...]):\n");
        for (key, help) in DRIVE_KEYS.iter().filter(|(_, help)| !help.is_empty()) {
            text.push_str(&format!("  {key:<32} {help}\n"));
        }
        text
    }
}

impl fmt::Display for DriveSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) | Self::Qcow2(path, _) => path.display().fmt(f),
            Self::Null(_) => f.write_str(NULL),
        }
    }
}

/// A path, or one of QEMU's names for zeroes.
fn source(file: &str, size: u64) -> DriveSource {
    match file.strip_prefix("blkdebug::").unwrap_or(file) {
        NULL => DriveSource::Null(size),
        _ => DriveSource::File(file.into()),
    }
}

fn backing(kv: &mut KeyVals) -> Result<Option<BackingSource>, BadOption> {
    let qcow2 = kv.take_word("backing.driver", &["raw", "qcow2"])? == "qcow2";
    let path = kv.take("backing.file.filename");
    Ok(path.map(|path| BackingSource {
        path: path.into(),
        qcow2,
    }))
}

fn null_size(kv: &mut KeyVals, key: &str) -> Result<u64, BadOption> {
    match kv.take(key) {
        None => Ok(NULL_SIZE),
        Some(text) => values::size(kv.option(), &text, 1),
    }
}

/// Accepts what a disk of zeroes does in any case.
fn check_null(kv: &mut KeyVals, switches: &[&str]) -> Result<(), BadOption> {
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

fn discards(kv: &mut KeyVals) -> Result<bool, BadOption> {
    let word = kv.take_word("discard", &["ignore", "unmap", "off", "on"])?;
    Ok(matches!(word, "unmap" | "on"))
}

const DRIVE: &str = "-drive";
const NULL: &str = "null-co://";
/// QEMU's default.
const NULL_SIZE: u64 = 1 << 30;
const NULL_KEYS: &[&str] = &["file.read-zeroes", "file.image.read-zeroes"];
const BLOCKDEV_DRIVERS: &[&str] = &["raw", "file", "host_device", "null-co"];
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
        "throttling.iops-total",
        "requests in a second, 0 (default): no limit",
    ),
    (
        "throttling.iops-total-max",
        "requests in a second after a time of rest",
    ),
    (
        "throttling.iops-total-max-length",
        "for so many seconds (default 1)",
    ),
    (
        "throttling.iops-size",
        "a request of more bytes than this counts as several",
    ),
    (
        "throttling.bps-total",
        "bytes in a second, 0 (default): no limit",
    ),
    (
        "throttling.bps-total-max",
        "bytes in a second after a time of rest",
    ),
    (
        "throttling.bps-total-max-length",
        "for so many seconds (default 1)",
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
const BLOCKDEV_KEYS: &[Key] = &[
    ("driver", ""),
    ("node-name", ""),
    ("filename", ""),
    ("size", ""),
    ("read-zeroes", ""),
    ("read-only", ""),
    ("auto-read-only", ""),
    ("discard", ""),
    ("cache.direct", ""),
    ("cache.no-flush", ""),
    ("file.driver", ""),
    ("file.node-name", ""),
    ("file.filename", ""),
    ("file.size", ""),
    ("file.read-zeroes", ""),
    ("file.read-only", ""),
    ("file.auto-read-only", ""),
    ("file.discard", ""),
    ("file.cache.direct", ""),
    ("file.cache.no-flush", ""),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn blockdev(text: &str) -> Result<DriveOptions, String> {
        let kv = KeyVals::parse("-blockdev", text, Some("driver"));
        DriveOptions::blockdev(kv).map_err(|error| error.to_string())
    }

    #[test]
    fn zeroes_have_qemus_names() {
        for text in [
            "if=none,id=d,file=null-co://,file.read-zeroes=on,format=raw",
            "if=none,id=d,file=blkdebug::null-co://,file.image.read-zeroes=on,file.align=4k",
        ] {
            let drive = DriveOptions::parse(text, 0).unwrap();
            assert_eq!(drive.source, DriveSource::Null(1 << 30), "{text}");
        }
        let drive = blockdev("driver=null-co,read-zeroes=on,node-name=n,size=64M").unwrap();
        assert_eq!(drive.source, DriveSource::Null(64 << 20));
        assert_eq!(drive.id, "n");
    }

    #[test]
    fn blockdevs_are_files_with_or_without_a_format() {
        for text in [
            "raw,node-name=d,file.driver=file,file.filename=a,file.cache.direct=on,discard=unmap",
            "file,node-name=d,filename=a,cache.direct=on,discard=unmap",
        ] {
            let drive = blockdev(text).unwrap();
            assert_eq!(drive.source, DriveSource::File("a".into()), "{text}");
            assert_eq!((drive.cache, drive.discard), (Cache::None, true));
        }
        for (text, expected) in [
            (
                "qcow2,node-name=d",
                "driver=qcow2: not accepted; accepted: raw, file",
            ),
            ("file,node-name=d", "filename=: missing"),
            ("file,filename=a", "node-name=: missing"),
            ("file,filename=a,node-name=0", "not an identifier"),
            (
                "file,filenam=a,node-name=d",
                "unknown name; accepted: filename",
            ),
        ] {
            let error = blockdev(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
