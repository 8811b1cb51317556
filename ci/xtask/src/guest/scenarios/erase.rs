//! A disk that erases for good. Kernels know that of virtio from 6.3 on.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};

use anyhow::{Result, ensure};

use crate::guest::machine::Machine;
use crate::guest::scenario::{Play, Scenario, Shared, nothing};
use crate::guest::verdict::Verdict;

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "erase",
    equip,
    play: Play::Shared(Shared {
        checks: |_| CHECKS.iter().copied().map(str::to_owned).collect(),
        beside: nothing,
        after: |machine| vec![Verdict::of("erase-image", overwritten(machine))],
    }),
};

fn equip(machine: &mut Machine) -> Result<()> {
    let blk = machine.virtio("blk");
    machine.disk(
        &format!("{blk},x-secure-erase=on,x-size-max=64k"),
        "erase",
        1 << 20,
    )
}

/// Whether zeroes were written in the place of what was erased: it occupies as much as before.
fn overwritten(machine: &Machine) -> Result<String> {
    let path = machine.file("erase");
    let mut piece = vec![1; 64 << 10];
    File::open(&path)?.read_exact_at(&mut piece, 64 << 10)?;
    ensure!(piece.iter().all(|&byte| byte == 0), "something is left");
    let kib = fs::metadata(&path)?.blocks() / 2;
    ensure!(kib >= 256, "the image occupies {kib} KiB");
    Ok(format!("64 KiB of zeroes, the image occupies {kib} KiB"))
}

const CHECKS: &[&str] = &["erase-segments", "erase"];
