//! Two virtio-net devices on a hub carry what the guest sends to itself.

use crate::guest::scenario::{Play, Scenario, Shared, nothing};

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "hub",
    equip: |machine| {
        let device = machine.virtio("net");
        for (number, ring) in [(1, ""), (2, ",packed=on")] {
            machine.option("-netdev", &format!("hubport,id=hub-{number},hubid=0"));
            let station = format!("52:54:00:77:10:0{number}");
            machine.device(&format!("{device},netdev=hub-{number},mac={station}{ring}"));
        }
        Ok(())
    },
    play: Play::Shared(Shared {
        checks: |machine| {
            let counted = COUNTED.iter();
            let carried = CARRIED.iter().filter(|_| machine.vmm.bus() == "pci");
            counted
                .chain(carried)
                .map(|check| check.to_string())
                .collect()
        },
        beside: nothing,
        after: nothing,
    }),
};

const COUNTED: &[&str] = &["hub-there", "hub-back"];
/// Where the processor is sound, see `guest/hub.sh`.
const CARRIED: &[&str] = &["hub-receive", "hub-send"];
