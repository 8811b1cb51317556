//! `pcie-root-port`.

use virtio_device::props::PropValue;
use virtio_pci::Addr;

use super::Plug;
use super::table::Kind;
use crate::options::{BadOption, KeyVals};
use crate::pci::PortSettings;

pub(super) const NAME: &str = "pcie-root-port";

pub(super) const KIND: Kind = Kind::Board {
    properties: &[
        (
            "addr",
            "<slot[.function]> place on the bus (default: a free one)",
        ),
        ("bus", "<name> pcie.0, the only bus with ports"),
        (
            "chassis",
            "<number> with the slot's number, names the slot (default: 0)",
        ),
        (
            "hotplug",
            "<on|off> devices come and go while the guest runs (default: on)",
        ),
        ("port", "<number> of the port (default: that of its bus)"),
        (
            "slot",
            "<number> of the slot in its chassis (default: that of its bus)",
        ),
    ],
    make,
};

fn make(id: Option<String>, mut properties: KeyVals) -> Result<Plug, BadOption> {
    let option = properties.option().to_owned();
    let missing = || BadOption::property(&option, "id", "", "missing", "a name for its bus");
    let id = id.ok_or_else(missing)?;
    let addr = properties.take("addr");
    let addr = addr.map(|text| slot(&option, &text)).transpose()?;
    let settings = PortSettings {
        chassis: properties.take_number("chassis", 0..=0xff)?.unwrap_or(0),
        number: properties.take_number("port", 0..=0xff)?,
        slot: properties.take_number("slot", 0..=0x1fff)?,
        hot_plug: properties.take_switch("hotplug", true)?,
    };
    let bus = properties.take("bus");
    Ok(Plug::Board(Box::new(move |board| {
        let pci = &mut *board.buses.pc(&option)?.pci;
        let place = pci.locate(&option, bus.as_deref(), addr)?;
        pci.attach_port(&option, &id, place, settings)?;
        Ok(None)
    })))
}

/// A slot as QEMU writes it: device and function in hexadecimal.
fn slot(option: &str, text: &str) -> Result<vm_pci::Slot, BadOption> {
    let parsed = Addr::parse(text).map(|addr| addr.0);
    parsed.ok_or_else(|| BadOption::property(option, "addr", text, "not a slot", Addr::ACCEPTS))
}
