//! The guest takes the driver off a disk and puts it back, fifty times, and reads the same data
//! every time.

use anyhow::Result;

use crate::guest::machine::Machine;
use crate::guest::scenario::{Play, Scenario, Shared, nothing};

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "rebind",
    equip,
    play: Play::Shared(Shared {
        checks: |_| vec!["rebind".to_owned()],
        beside: nothing,
        after: nothing,
    }),
};

fn equip(machine: &mut Machine) -> Result<()> {
    machine.disk(&machine.virtio("blk"), "rebind", 1 << 20)
}
