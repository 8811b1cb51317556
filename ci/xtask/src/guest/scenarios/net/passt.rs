//! A device on the network as a process of this user sees it: `passt`, or what QEMU has in itself.

use anyhow::Result;

use super::tap::{TAPS, ip};
use crate::cargo;
use crate::debian::Debian;
use crate::guest::machine::Machine;
use crate::guest::scenario::tool;
use crate::process::output;

/// The guest is given the address of the host, and reaches the host's own services at its gateway.
pub(super) fn equip(machine: &mut Machine) -> Result<()> {
    let mut netdev = "user,id=user".to_owned();
    if machine.vmm.is_ours() {
        lead_out()?;
        let passt = Debian::new(&cargo::target()?).program("passt")?;
        netdev.push_str(&format!(",path={}", passt.path.display()));
    }
    machine.option("-netdev", &netdev);
    machine.device("virtio-net-pci,id=net4,netdev=user,mac=52:54:00:77:00:04");
    Ok(())
}

/// A host with no way out gets one that leads to a station of nobody's, as long as the interface is
/// there.
fn lead_out() -> Result<()> {
    let ways = output(tool("ip")?.args(["-4", "route", "show", "default"]))?;
    if ways.trim().is_empty() {
        ip(&format!(
            "route add default via 10.77.5.99 dev {}v",
            TAPS[0].name
        ))?;
    }
    Ok(())
}
