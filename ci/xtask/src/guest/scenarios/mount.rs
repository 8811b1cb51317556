//! Directories of the host over virtio-9p, mounted by a guest whose root file system is another.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};
use rustix::fs::getxattr;

use crate::guest::machine::Machine;
use crate::guest::scenario::{Play, Scenario, Shared, nothing};
use crate::guest::verdict::Verdict;

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "mount",
    equip,
    play: Play::Shared(Shared {
        checks: |_| vec![SPLIT.to_owned(), PACKED.to_owned()],
        beside: nothing,
        after: |machine| vec![Verdict::of("mount-host", look(machine))],
    }),
};

fn equip(machine: &mut Machine) -> Result<()> {
    let device = machine.virtio("9p");
    for (tag, model, ring) in [
        (SPLIT, "mapped-file", ""),
        (PACKED, "mapped-xattr", ",packed=on"),
    ] {
        let directory = machine.file(tag);
        fs::create_dir(&directory)?;
        let path = directory.display();
        let share = format!("local,id={tag},path={path},security_model={model}");
        machine.option("-fsdev", &share);
        machine.device(&format!("{device},fsdev={tag},mount_tag={tag}{ring}"));
    }
    Ok(())
}

/// What the guest has left on the host.
fn look(machine: &Machine) -> Result<String> {
    let (split, packed) = (machine.file(SPLIT), machine.file(PACKED));
    files(&split)?;
    files(&packed)?;
    let kept = fs::read_to_string(split.join(".virtfs_metadata/random"))?;
    ensure!(kept.contains("virtfs.uid=7\n"), "kept is {kept:?}");
    let mut owner = [0; 4];
    getxattr(packed.join("random"), "user.virtfs.uid", &mut owner)?;
    ensure!(owner == 7_u32.to_le_bytes(), "kept is {owner:?}");
    Ok("the host has the files, and owners beside and in them".to_owned())
}

fn files(directory: &Path) -> Result<()> {
    let length = fs::metadata(directory.join("random"))?.len();
    ensure!(length == 300_000, "{length} bytes");
    let link = fs::symlink_metadata(directory.join("link"))?;
    ensure!(
        link.is_file(),
        "a link of the guest's is a link of the host's"
    );
    Ok(())
}

const SPLIT: &str = "mount-split";
const PACKED: &str = "mount-packed";
