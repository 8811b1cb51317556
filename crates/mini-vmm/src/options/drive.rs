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
    /// Parses the value of `-drive`.
    pub fn parse(text: &str) -> Result<Self, BadOption> {
        let mut kv = KeyVals::parse(OPTION, text, None);
        kv.check(KEYS)?;
        let id = kv.require("id", "an identifier")?;
        kv.take_word("format", &["raw"])?;
        kv.take_word("if", &["none"])?;
        Ok(Self {
            id: values::identifier(OPTION, &id)?,
            file: kv.require("file", "the path of a raw image")?.into(),
            read_only: kv.take_switch("readonly", false)?,
            cache: cache(kv.take_word("cache", &["writeback", "writethrough", "none"])?),
            discard: matches!(kv.take_word("discard", DISCARD)?, "unmap" | "on"),
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
    ("if", "none: the device is given by -device"),
    ("readonly", "on: refuse writes (default off)"),
    ("cache", "writeback (default), writethrough or none"),
    (
        "discard",
        "unmap: hand discards to the host; ignore (default)",
    ),
];
