//! Two virtio-net devices carry what the guest sends to itself: over a hub, or over datagrams of the
//! host, where `-nic` makes one of them.

use std::net::UdpSocket;

use anyhow::Result;

use crate::guest::machine::Machine;
use crate::guest::scenario::{Play, Scenario, Shared, nothing};

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "hub",
    equip: |machine| match machine.vmm.bus() {
        "pci" => with_datagrams(machine),
        _ => with_hub(machine),
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

fn with_hub(machine: &mut Machine) -> Result<()> {
    let device = machine.virtio("net");
    for (number, ring) in [(1, ""), (2, ",packed=on")] {
        machine.option("-netdev", &format!("hubport,id=hub-{number},hubid=0"));
        let station = station(number);
        machine.device(&format!("{device},netdev=hub-{number},mac={station}{ring}"));
    }
    Ok(())
}

fn with_datagrams(machine: &mut Machine) -> Result<()> {
    let (here, there) = free_ports()?;
    let udp = format!("udp={HOST}:{there},localaddr={HOST}:{here}");
    let mac = station(1);
    machine.option(
        "-nic",
        &format!("socket,model=virtio-net-pci,{udp},mac={mac}"),
    );
    let local = format!("local.type=inet,local.host={HOST},local.port={there}");
    let remote = format!("remote.type=inet,remote.host={HOST},remote.port={here}");
    machine.option("-netdev", &format!("dgram,id=hub-2,{local},{remote}"));
    let (device, mac) = (machine.virtio("net"), station(2));
    machine.device(&format!("{device},netdev=hub-2,mac={mac},packed=on"));
    Ok(())
}

fn station(number: u8) -> String {
    format!("52:54:00:77:10:0{number}")
}

/// Two UDP ports that nobody has, just now.
fn free_ports() -> Result<(u16, u16)> {
    let bound = [UdpSocket::bind((HOST, 0))?, UdpSocket::bind((HOST, 0))?];
    Ok((bound[0].local_addr()?.port(), bound[1].local_addr()?.port()))
}

const HOST: &str = "127.0.0.1";
const COUNTED: &[&str] = &["hub-there", "hub-back"];
/// Where the processor is sound, see `guest/hub.sh`.
const CARRIED: &[&str] = &["hub-receive", "hub-send"];
