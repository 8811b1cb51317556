//! The guest's `/dev/hwrng` is each of our virtio-rngs in turn, with split and packed rings and on
//! every bus that there is, and what comes out passes FIPS 140-2 (`rngtest`).

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
    let device = machine.virtio("rng");
    machine.device(&device);
    machine.device(&format!("{device},packed=on"));
    if machine.vmm.has_mmio() {
        machine.device("virtio-rng-device");
    }
    Ok(())
}
