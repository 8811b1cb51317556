//! Block devices of the host of a kind that it need not have: Linux makes them in memory, as its configfs
//! is told (`Documentation/block/null_blk.rst`), and takes them away whoever uses them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Whether there can be such devices: one level down there can.
pub fn are_possible() -> bool {
    Path::new(DEVICES).is_dir()
}

/// Makes the device `name`, in memory, with more attributes of its own. Returns its node.
pub fn make(name: &str, attributes: &[(&str, &str)]) -> Result<PathBuf> {
    remove(name);
    fs::create_dir(Path::new(DEVICES).join(name)).with_context(|| name.to_owned())?;
    set(name, "memory_backed", "1")?;
    for (attribute, value) in attributes {
        set(name, attribute, value)?;
    }
    set(name, "power", "1")?;
    let index = fs::read_to_string(path(name, "index"))?;
    // Kernels from 6.3 on call it as we do.
    let nodes = [
        PathBuf::from("/dev").join(name),
        PathBuf::from(format!("/dev/nullb{}", index.trim())),
    ];
    let node = nodes.into_iter().find(|node| node.exists());
    node.with_context(|| format!("{name} has no node"))
}

/// Changes a device that is there. With `power` 0 it is taken away.
pub fn set(name: &str, attribute: &str, value: &str) -> Result<()> {
    let path = path(name, attribute);
    fs::write(&path, value).with_context(|| path.display().to_string())
}

/// Takes the device away, and forgets it; it need not be there.
pub fn remove(name: &str) {
    let _ = fs::remove_dir(Path::new(DEVICES).join(name));
}

fn path(name: &str, attribute: &str) -> PathBuf {
    Path::new(DEVICES).join(name).join(attribute)
}

const DEVICES: &str = "/sys/kernel/config/nullb";
