//! A stock kernel image and its modules, in the order in which they must be loaded.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::debian::Debian;

/// A kernel below some root directory.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// The bzImage.
    pub image: PathBuf,
    /// What `uname -r` says.
    pub release: String,
    modules: HashMap<String, PathBuf>,
    builtin: HashSet<String>,
}

/// A module, ready for `insmod`.
#[derive(Clone, Debug)]
pub struct Module {
    /// Its name, with underscores.
    pub name: String,
    /// The uncompressed ELF object.
    pub object: Vec<u8>,
}

impl Kernel {
    /// The newest kernel below `root` whose release is `wanted`, if there is one.
    pub fn find(root: &Path, wanted: impl Fn(&str) -> bool) -> Result<Option<Self>> {
        let found = images(root).filter(|(release, _)| wanted(release)).max();
        found
            .map(|(release, image)| Self::open(root, release, image))
            .transpose()
    }

    /// Whether it has a module called `name`, built in or not.
    pub fn has(&self, name: &str) -> bool {
        let name = name.replace('-', "_");
        self.builtin.contains(&name) || self.modules.contains_key(&name)
    }

    /// `names` and everything they depend on, dependencies first. Built-in ones are left out.
    pub fn load_order(&self, names: &[&str]) -> Result<Vec<Module>> {
        let (mut order, mut seen) = (Vec::new(), HashSet::new());
        for name in names {
            self.visit(&name.replace('-', "_"), &mut seen, &mut order)?;
        }
        Ok(order)
    }

    /// The ELF image that the bzImage has in it, without the decompressor before it. Unpackers are
    /// `debian`'s.
    pub fn uncompressed(&self, debian: &Debian) -> Result<Vec<u8>> {
        let image = fs::read(&self.image)?;
        let payload = payload(&image).context("the kernel is no bzImage")?;
        unpack(payload, debian.program(unpacker(payload)?)?.command())
    }

    fn open(root: &Path, release: String, image: PathBuf) -> Result<Self> {
        let tree = MODULES
            .iter()
            .map(|directory| root.join(directory).join(&release))
            .find(|path| path.is_dir())
            .with_context(|| format!("kernel {release} has no modules below {}", root.display()))?;
        let mut modules = HashMap::new();
        index(&tree.join("kernel"), &mut modules)?;
        let builtin = fs::read_to_string(tree.join("modules.builtin")).unwrap_or_default();
        let builtin = builtin
            .lines()
            .filter_map(|line| module_name(Path::new(line)))
            .collect();
        Ok(Self {
            image,
            release,
            modules,
            builtin,
        })
    }

    fn visit(&self, name: &str, seen: &mut HashSet<String>, order: &mut Vec<Module>) -> Result<()> {
        if self.builtin.contains(name) || !seen.insert(name.to_owned()) {
            return Ok(());
        }
        let path = self
            .modules
            .get(name)
            .with_context(|| format!("kernel {} has no module {name}", self.release))?;
        let object = read_object(path)?;
        for dependency in dependencies(&object) {
            self.visit(&dependency, seen, order)?;
        }
        order.push(Module {
            name: name.to_owned(),
            object,
        });
        Ok(())
    }
}

/// Releases and images: `boot/vmlinuz-RELEASE`, or beside the modules.
fn images(root: &Path) -> impl Iterator<Item = (String, PathBuf)> {
    let boot = paths(&root.join("boot")).filter_map(|path| {
        let release = path.file_name()?.to_str()?.strip_prefix("vmlinuz-")?;
        Some((release.to_owned(), path))
    });
    let trees = MODULES.iter().flat_map(|tree| paths(&root.join(tree)));
    let beside = trees.filter_map(|tree| {
        let release = tree.file_name()?.to_str()?.to_owned();
        Some((release, tree.join("vmlinuz"))).filter(|(_, image)| image.is_file())
    });
    boot.chain(beside)
}

/// What is in `directory`; nothing if it does not exist.
fn paths(directory: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries.filter_map(|entry| entry.ok().map(|entry| entry.path()))
}

fn index(directory: &Path, modules: &mut HashMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            index(&path, modules)?;
        } else if let Some(name) = module_name(&path) {
            modules.insert(name, path);
        }
    }
    Ok(())
}

/// `kernel/drivers/char/virtio-rng.ko.xz` is `virtio_rng`.
fn module_name(path: &Path) -> Option<String> {
    let (name, _) = path.file_name()?.to_str()?.split_once(".ko")?;
    Some(name.replace('-', "_"))
}

/// What a bzImage has compressed, as the header of its setup code says (Documentation/arch/x86/boot.rst
/// in Linux), without the four bytes after it, which tell its length.
fn payload(image: &[u8]) -> Option<&[u8]> {
    let word = |offset: usize| {
        let word = image.get(offset..offset + 4)?.try_into().ok()?;
        Some(u32::from_le_bytes(word) as usize)
    };
    let setup = (usize::from(*image.get(SETUP_SECTORS)?) + 1) * 512;
    let start = setup + word(PAYLOAD_OFFSET)?;
    image.get(start..(start + word(PAYLOAD_LENGTH)?).checked_sub(4)?)
}

/// The program for a payload of one of the formats that Debian's kernels come in.
fn unpacker(payload: &[u8]) -> Result<&'static str> {
    match payload {
        [0xfd, b'7', b'z', b'X', b'Z', ..] => Ok("xz"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Ok("zstd"),
        _ => bail!("a kernel in an unknown compression"),
    }
}

fn unpack(payload: &[u8], mut unpacker: Command) -> Result<Vec<u8>> {
    let mut file = tempfile::tempfile()?;
    file.write_all(payload)?;
    file.rewind()?;
    let result = unpacker.arg("-dc").stdin(file).output()?;
    ensure!(
        result.status.success(),
        "{unpacker:?}: {}",
        String::from_utf8_lossy(&result.stderr)
    );
    Ok(result.stdout)
}

fn read_object(path: &Path) -> Result<Vec<u8>> {
    let unpacker = match path.extension().and_then(|extension| extension.to_str()) {
        Some("ko") => return Ok(fs::read(path)?),
        Some("xz") => "xz",
        Some("zst") => "zstd",
        _ => bail!("{}: unknown compression", path.display()),
    };
    let result = Command::new(unpacker)
        .arg("-dc")
        .arg(path)
        .output()
        .with_context(|| format!("cannot start {unpacker}"))?;
    if !result.status.success() {
        bail!("{unpacker} cannot unpack {}", path.display());
    }
    Ok(result.stdout)
}

/// The `depends=` entry of the object's `.modinfo` section.
fn dependencies(object: &[u8]) -> Vec<String> {
    let key = b"\0depends=";
    let Some(start) = object.windows(key.len()).position(|window| window == key) else {
        return Vec::new();
    };
    let value = object[start + key.len()..]
        .split(|byte| *byte == 0)
        .next()
        .unwrap_or_default();
    let names = String::from_utf8_lossy(value);
    names
        .split(',')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect()
}

const SETUP_SECTORS: usize = 0x1f1;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;
const MODULES: [&str; 2] = ["usr/lib/modules", "lib/modules"];

#[cfg(test)]
mod tests {
    use super::{dependencies, module_name, payload};
    use std::path::Path;

    #[test]
    fn kernel_modules_name_their_dependencies() {
        let object = b"\x7fELF..\0license=GPL\0depends=virtio,virtio_pci-lib\0retpoline=Y\0";
        assert_eq!(dependencies(object), ["virtio", "virtio_pci_lib"]);
        assert!(dependencies(b"\0depends=\0").is_empty());
        assert!(dependencies(b"no section at all").is_empty());
    }

    #[test]
    fn kernel_payload_is_where_the_header_says() {
        let mut image = vec![0; 1024];
        image[0x1f1] = 1;
        image[0x248..0x250].copy_from_slice(&[3, 0, 0, 0, 9, 0, 0, 0]);
        image.extend(b"...\xfd7zXZ\x05\0\0\0");
        assert_eq!(payload(&image), Some(&b"\xfd7zXZ"[..]));
        assert_eq!(payload(&image[..image.len() - 5]), None);
        assert_eq!(payload(&image[..0x24e]), None);
    }

    #[test]
    fn kernel_module_names_use_underscores() {
        assert_eq!(
            module_name(Path::new("a/virtio-rng.ko.xz")).as_deref(),
            Some("virtio_rng")
        );
        assert_eq!(module_name(Path::new("modules.dep")), None);
    }
}
