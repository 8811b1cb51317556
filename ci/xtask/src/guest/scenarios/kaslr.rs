//! The kernel is at random addresses, physical and virtual, whether it has unpacked itself or the VMM
//! has placed it.

use crate::guest::scenario::{Play, Scenario, Shared, nothing};

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "kaslr",
    equip: |_| Ok(()),
    play: Play::Shared(Shared {
        checks: |_| vec!["kaslr".to_owned()],
        beside: nothing,
        after: nothing,
    }),
};
