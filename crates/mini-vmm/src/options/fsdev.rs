//! `-fsdev`: something to share with the guest; `-virtfs`: the same and a device for it.

use std::path::PathBuf;

use p9_server::{LocalOptions, MultiDevs, SecurityModel};

use super::{BadOption, DeviceOptions, Key, KeyVals, help, values};

/// One `-fsdev`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FsdevOptions {
    /// Its identifier, for a device's `fsdev` property.
    pub id: String,
    /// What is shared.
    pub kind: FsdevKind,
    /// Number of extended attributes that the guest may have under way; 0 for no limit of their
    /// own.
    pub max_xattr: usize,
}

/// What an `-fsdev` shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FsdevKind {
    /// A directory of the host.
    Local(PathBuf, LocalOptions),
    /// A tree for tests.
    Synth,
}

impl FsdevOptions {
    /// Parses the value of `-fsdev`.
    pub fn parse(text: &str) -> Result<Self, BadOption> {
        let mut kv = KeyVals::parse(FSDEV, text, Some("fsdriver"));
        kv.check(KEYS)?;
        let id = kv.require("id", "an identifier")?;
        Self::of(kv, id)
    }

    /// Parses the value of `-virtfs`: what is shared, and the device that the guest mounts it by.
    pub fn virtfs(text: &str) -> Result<(Self, DeviceOptions), BadOption> {
        let mut kv = KeyVals::parse("-virtfs", text, Some("fsdriver"));
        let keys: Vec<_> = KEYS.iter().copied().chain([TAG]).collect();
        kv.check(&keys)?;
        let tag = kv.require("mount_tag", "the name by which the guest mounts it")?;
        let id = kv.take("id").unwrap_or_else(|| tag.clone());
        let properties = [("fsdev", id.clone()), ("mount_tag", tag)];
        let device = DeviceOptions {
            driver: "virtio-9p-pci".to_owned(),
            id: None,
            properties: properties
                .map(|(key, value)| (key.to_owned(), value))
                .into(),
        };
        Ok((Self::of(kv, id)?, device))
    }

    /// What `-fsdev help` prints.
    pub fn help() -> String {
        let head = "Shared directories (-fsdev local|synth,id=ID[,...]):\n";
        head.to_owned() + &help::keys(KEYS, 2)
    }

    /// What `-virtfs help` prints.
    pub fn virtfs_help() -> String {
        let head = "Shared directory and a virtio-9p-pci for it (-virtfs local|synth,mount_tag=TAG[,...]):\n";
        let keys: Vec<_> = [TAG].iter().chain(KEYS).copied().collect();
        head.to_owned() + &help::keys(&keys, 2)
    }

    fn of(mut kv: KeyVals, id: String) -> Result<Self, BadOption> {
        let max_xattr = kv.take_number("max_xattr", 0..=65536)?;
        let kind = match kv.take_word("fsdriver", &["local", "synth"])? {
            "synth" => FsdevKind::Synth,
            _ => local(&mut kv)?,
        };
        Ok(Self {
            id: values::identifier(kv.option(), &id)?,
            kind,
            max_xattr: max_xattr.unwrap_or(MAX_XATTR) as usize,
        })
    }
}

fn local(kv: &mut KeyVals) -> Result<FsdevKind, BadOption> {
    let path = kv.require("path", "a directory")?;
    let model = security_model(kv)?;
    let mapped = matches!(
        model,
        SecurityModel::MappedXattr | SecurityModel::MappedFile
    );
    let defaults = LocalOptions::default();
    let options = LocalOptions {
        security_model: model,
        read_only: kv.take_switch("readonly", false)?,
        fmode: mode(kv, "fmode", mapped)?.unwrap_or(defaults.fmode),
        dmode: mode(kv, "dmode", mapped)?.unwrap_or(defaults.dmode),
        multidevs: match kv.take_word("multidevs", &["warn", "remap", "forbid"])? {
            "remap" => MultiDevs::Remap,
            "forbid" => MultiDevs::Forbid,
            _ => MultiDevs::Warn,
        },
        write_through: immediate(kv)?,
        ..defaults
    };
    Ok(FsdevKind::Local(path.into(), options))
}

fn security_model(kv: &mut KeyVals) -> Result<SecurityModel, BadOption> {
    let accepted = "none, passthrough, mapped-xattr, mapped-file";
    let word = kv.require("security_model", accepted)?;
    match word.as_str() {
        "none" => Ok(SecurityModel::None),
        "passthrough" => Ok(SecurityModel::Passthrough),
        "mapped" | "mapped-xattr" => Ok(SecurityModel::MappedXattr),
        "mapped-file" => Ok(SecurityModel::MappedFile),
        _ => Err(BadOption::property(
            kv.option(),
            "security_model",
            &word,
            "not accepted",
            accepted,
        )),
    }
}

/// Permissions, octal if they begin with 0, as QEMU has them.
fn mode(kv: &mut KeyVals, key: &str, mapped: bool) -> Result<Option<u32>, BadOption> {
    let Some(text) = kv.take(key) else {
        return Ok(None);
    };
    let bad = |why, accepted| BadOption::property(kv.option(), key, &text, why, accepted);
    if !mapped {
        let accepted = "with security_model=mapped-xattr or mapped-file only";
        return Err(bad("not for this security model", accepted));
    }
    let number = match text.strip_prefix('0') {
        Some(octal) if !octal.is_empty() => u32::from_str_radix(octal, 8).ok(),
        _ => text.parse().ok(),
    };
    let number = number.filter(|mode| *mode <= 0o777);
    number
        .map(Some)
        .ok_or_else(|| bad("not accepted", "permissions such as 0644"))
}

fn immediate(kv: &mut KeyVals) -> Result<bool, BadOption> {
    match kv.take("writeout").as_deref() {
        None => Ok(false),
        Some("immediate") => Ok(true),
        Some(word) => Err(BadOption::property(
            kv.option(),
            "writeout",
            word,
            "not accepted",
            "immediate",
        )),
    }
}

const FSDEV: &str = "-fsdev";
/// QEMU's.
const MAX_XATTR: u64 = 1024;
const TAG: Key = ("mount_tag", "name by which the guest mounts it");
const KEYS: &[Key] = &[
    ("fsdriver", ""),
    ("id", "identifier, for a device's fsdev= property"),
    ("path", "the directory"),
    (
        "security_model",
        "where owners and modes are kept: none, passthrough, mapped-xattr or mapped-file",
    ),
    ("readonly", "on: nothing can be changed (default off)"),
    (
        "fmode",
        "permissions of files on the host, mapped models only (default 0600)",
    ),
    ("dmode", "permissions of directories there (default 0700)"),
    (
        "multidevs",
        "file systems mounted below: warn (default), remap their numbers, or forbid them",
    ),
    (
        "writeout",
        "immediate: a write is durable before it is answered",
    ),
    (
        "max_xattr",
        "extended attributes that the guest may have under way (default 1024, 0: no limit)",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_qemus() {
        let text = "local,id=fs0,path=/srv/a,,b,security_model=mapped-xattr,fmode=0644,dmode=0755,\
                    readonly=on,multidevs=remap,writeout=immediate,max_xattr=100";
        let options = FsdevOptions::parse(text).unwrap();
        assert_eq!((options.id.as_str(), options.max_xattr), ("fs0", 100));
        let FsdevKind::Local(path, local) = options.kind else {
            panic!("a directory");
        };
        assert_eq!(path, PathBuf::from("/srv/a,b"));
        assert_eq!((local.fmode, local.dmode), (0o644, 0o755));
        assert!(local.read_only && local.write_through);
        assert_eq!(local.multidevs, MultiDevs::Remap);
        assert_eq!(local.security_model, SecurityModel::MappedXattr);
    }

    #[test]
    fn the_short_form_makes_a_device() {
        let text = "local,path=/srv,mount_tag=tag,security_model=none";
        let (share, device) = FsdevOptions::virtfs(text).unwrap();
        assert_eq!(share.id, "tag");
        assert_eq!(device.driver, "virtio-9p-pci");
        assert_eq!(device.property("fsdev"), Some("tag"));
        assert_eq!(device.property("mount_tag"), Some("tag"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, expected) in [
            ("local,id=a,security_model=none", "path=: missing"),
            ("local,id=a,path=/srv", "security_model=: missing"),
            ("local,path=/srv,security_model=none", "id=: missing"),
            (
                "local,id=a,path=/srv,security_model=maped",
                "accepted: none, passthrough, mapped-xattr",
            ),
            (
                "local,id=a,path=/srv,security_model=none,fmode=0644",
                "not for this security model",
            ),
            (
                "local,id=a,path=/srv,security_model=mapped,fmode=0888",
                "permissions such as 0644",
            ),
            (
                "local,id=a,path=/srv,security_model=none,writeout=late",
                "accepted: immediate",
            ),
            ("proxy,id=a", "accepted: local, synth"),
            ("local,id=a,pth=/srv", "unknown name; accepted: path"),
        ] {
            let error = FsdevOptions::parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains('\n'));
        }
    }
}
