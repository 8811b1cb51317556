//! `reboot` in the guest: the same VMM process boots the guest a second time, a file written before
//! is there, every kind of device was reset on its way: both transports, MSI-X and INTx, and the kernel, which the
//! VMM has unpacked, is somewhere else.

use anyhow::{Result, bail};

use crate::guest::machine::Machine;
use crate::guest::scenario::{BOOT, Play, SILENCE, Scenario};
use crate::guest::session::{Guest, Report};
use crate::guest::verdict::Verdict;

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "reboot",
    equip,
    play: Play::Alone(play),
};

fn equip(machine: &mut Machine) -> Result<()> {
    machine.reboots = true;
    machine.load_bzimage();
    let mmio = machine.vmm.has_mmio();
    let disks = if mmio { "intx,mmio" } else { "intx" };
    machine.parameter(&format!("reboot_disks={disks}"));
    machine.disk("virtio-blk-pci,vectors=0", "intx", 1 << 20)?;
    machine.device("virtio-rng-pci");
    machine.socket("console");
    machine.device("virtio-serial-pci");
    machine.device("virtconsole,chardev=console");
    if mmio {
        machine.disk("virtio-blk-device", "mmio", 1 << 20)?;
        machine.device("virtio-serial-device");
    }
    Ok(())
}

/// Two boots, and the verdict of the second one.
pub fn play(guest: &mut Guest, _: &Machine) -> Result<Vec<Verdict>> {
    guest.ready(BOOT)?;
    guest.ready(BOOT)?;
    match guest.report(SILENCE)? {
        Report::Verdict(verdict) => Ok(vec![verdict]),
        other => bail!(
            "expected the guest's verdict after its reboot, got {other:?}; {}",
            guest.last_words()
        ),
    }
}
