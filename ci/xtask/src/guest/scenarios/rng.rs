//! The guest's `/dev/hwrng` is our virtio-rng, and what comes out passes FIPS 140-2 (`rngtest`).

use anyhow::Result;

use crate::guest::machine::Machine;
use crate::guest::scenario::{Play, Scenario, Shared, nothing};

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "rng",
    equip,
    play: Play::Shared(Shared {
        checks: |_| vec!["rng".to_owned()],
        beside: nothing,
        after: nothing,
    }),
};

fn equip(machine: &mut Machine) -> Result<()> {
    machine.device(&machine.virtio("rng"));
    Ok(())
}
