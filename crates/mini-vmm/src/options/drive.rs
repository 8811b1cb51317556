//! `-drive`: disk images on the host.

use std::path::PathBuf;

use super::keyval::Key;
use super::{BadOption, KeyVals, values};

/// One `-drive`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriveOptions {
    /// Its identifier, which a device's `drive` property refers to.
    pub id: String,
    /// Path of a raw image or a block device.
    pub file: PathBuf,
    /// Refuses the guest's writes; several readers may share the image.
    pub read_only: bool,
    /// Caching on the host.
    pub cache: Cache,
    /// Hands the guest's discards to the host.
    pub discard: bool,
    /// Is a disk by itself, a `virtio-blk-pci`, without a `-device` (`if=virtio`).
    pub disk: bool,
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
        let mut kv = KeyVals::parse(OPTION, text, None);
        kv.check(KEYS)?;
        kv.take_word("format", &["raw"])?;
        let disk = kv.take_word("if", &["none", "virtio"])? == "virtio";
        let id = match kv.take("id") {
            None if disk => format!("virtio{index}"),
            id => id.unwrap_or_default(),
        };
        if id.is_empty() {
            let accepted = "an identifier, or if=virtio";
            return Err(BadOption::property(OPTION, "id", "", "missing", accepted));
        }
        Ok(Self {
            id: values::identifier(OPTION, &id)?,
            file: kv.require("file", "the path of a raw image")?.into(),
            read_only: kv.take_switch("readonly", false)?,
            cache: cache(kv.take_word("cache", &["writeback", "writethrough", "none"])?),
            discard: matches!(kv.take_word("discard", DISCARD)?, "unmap" | "on"),
            disk,
        })
    }

    /// What `-drive help` prints.
    pub fn help() -> String {
        let mut text = String::from("Drives (-drive id=ID,file=PATH[,...]):\n");
        for (key, help) in KEYS {
            text.push_str(&format!("  {key:<10} {help}\n"));
        }
        text
    }
}

fn cache(word: &str) -> Cache {
    match word {
        "writethrough" => Cache::WriteThrough,
        "none" => Cache::None,
        _ => Cache::WriteBack,
    }
}

const OPTION: &str = "-drive";
const DISCARD: &[&str] = &["ignore", "unmap", "off", "on"];
const KEYS: &[Key] = &[
    ("id", "identifier, for a device's drive= property"),
    ("file", "path of a raw image or a block device"),
    ("format", "raw, the only one: a format is never guessed"),
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
];
