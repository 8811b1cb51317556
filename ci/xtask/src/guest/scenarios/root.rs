//! The root file system is ext4 on virtio-blk: files survive the page cache, and after power-off
//! the file system is clean.

use crate::guest::machine::Machine;
use crate::guest::scenario::{Play, Scenario, Shared, check_file_system, nothing};
use crate::guest::verdict::Verdict;

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "root",
    equip: |_| Ok(()),
    play: Play::Shared(Shared {
        checks: |_| vec!["root".to_owned()],
        beside: nothing,
        after,
    }),
};

fn after(machine: &Machine) -> Vec<Verdict> {
    vec![Verdict::of(
        "root-e2fsck",
        check_file_system(&machine.file("root")),
    )]
}
