//! The table of device types: name, what it is, and where it is plugged in.

use virtio_serial::PortKind;

use super::proxy::Proxy;
use super::scsi::UnitKind;
use super::virtio::Model;
use super::{Plug, balloon, blk, isa, net, p9, rng, root_port, scsi, serial};
use crate::options::{BadOption, Key, KeyVals};

/// One type of device.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    help: &'static str,
}

/// What a type of device is.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// A part of the board.
    Board {
        properties: &'static [Key],
        make: fn(Option<String>, KeyVals) -> Result<Plug, BadOption>,
    },
    /// A virtio device behind a transport.
    Virtio(Model, Proxy),
    /// A port of a virtio-serial device.
    Port(PortKind),
    /// A logical unit of a virtio-scsi device.
    Unit(UnitKind),
}

impl Row {
    pub(super) fn bus(&self) -> &'static str {
        match self.kind {
            Kind::Board { .. } if self.name == root_port::NAME => "PCI",
            Kind::Board { .. } => "ISA",
            Kind::Virtio(_, proxy) => proxy.bus(),
            Kind::Port(_) => "virtio-serial",
            Kind::Unit(_) => "SCSI",
        }
    }

    pub(super) fn help(&self) -> &'static str {
        self.help
    }
}

const fn row(name: &'static str, kind: Kind, help: &'static str) -> Row {
    Row { name, kind, help }
}

const fn virtio(name: &'static str, model: Model, proxy: Proxy) -> Row {
    row(name, Kind::Virtio(model, proxy), model.help)
}

#[rustfmt::skip]
pub(super) const DEVICES: &[Row] = &[
    virtio("virtio-9p-pci", p9::MODEL, Proxy::Pci),
    virtio("virtio-9p-pci-transitional", p9::MODEL, Proxy::PciTransitional),
    virtio("virtio-9p-pci-non-transitional", p9::MODEL, Proxy::PciModern),
    virtio("virtio-9p-device", p9::MODEL, Proxy::Mmio),
    virtio("virtio-9p-ccw", p9::MODEL, Proxy::Ccw),
    virtio("virtio-balloon-pci", balloon::MODEL, Proxy::Pci),
    virtio("virtio-balloon-pci-transitional", balloon::MODEL, Proxy::PciTransitional),
    virtio("virtio-balloon-pci-non-transitional", balloon::MODEL, Proxy::PciModern),
    virtio("virtio-balloon-device", balloon::MODEL, Proxy::Mmio),
    virtio("virtio-balloon-ccw", balloon::MODEL, Proxy::Ccw),
    virtio("virtio-blk-pci", blk::MODEL, Proxy::Pci),
    virtio("virtio-blk-pci-transitional", blk::MODEL, Proxy::PciTransitional),
    virtio("virtio-blk-pci-non-transitional", blk::MODEL, Proxy::PciModern),
    virtio("virtio-blk-device", blk::MODEL, Proxy::Mmio),
    virtio("virtio-blk-ccw", blk::MODEL, Proxy::Ccw),
    virtio("virtio-net-pci", net::MODEL, Proxy::Pci),
    virtio("virtio-net-pci-transitional", net::MODEL, Proxy::PciTransitional),
    virtio("virtio-net-pci-non-transitional", net::MODEL, Proxy::PciModern),
    virtio("virtio-net-device", net::MODEL, Proxy::Mmio),
    virtio("virtio-net-ccw", net::MODEL, Proxy::Ccw),
    virtio("virtio-rng-pci", rng::MODEL, Proxy::Pci),
    virtio("virtio-rng-pci-transitional", rng::MODEL, Proxy::PciTransitional),
    virtio("virtio-rng-pci-non-transitional", rng::MODEL, Proxy::PciModern),
    virtio("virtio-rng-device", rng::MODEL, Proxy::Mmio),
    virtio("virtio-rng-ccw", rng::MODEL, Proxy::Ccw),
    virtio("virtio-scsi-pci", scsi::MODEL, Proxy::Pci),
    virtio("virtio-scsi-pci-transitional", scsi::MODEL, Proxy::PciTransitional),
    virtio("virtio-scsi-pci-non-transitional", scsi::MODEL, Proxy::PciModern),
    virtio("virtio-scsi-device", scsi::MODEL, Proxy::Mmio),
    virtio("virtio-scsi-ccw", scsi::MODEL, Proxy::Ccw),
    row("scsi-cd", Kind::Unit(UnitKind::Cdrom), "a CD-ROM drive on a SCSI bus, perhaps with a -drive in it"),
    row("scsi-hd", Kind::Unit(UnitKind::Disk), "a disk on a SCSI bus, on a -drive"),
    virtio("virtio-serial-pci", serial::MODEL, Proxy::Pci),
    virtio("virtio-serial-pci-transitional", serial::MODEL, Proxy::PciTransitional),
    virtio("virtio-serial-pci-non-transitional", serial::MODEL, Proxy::PciModern),
    virtio("virtio-serial-device", serial::MODEL, Proxy::Mmio),
    virtio("virtio-serial-ccw", serial::MODEL, Proxy::Ccw),
    row("virtconsole", Kind::Port(PortKind::Console), "a console, on a chardev"),
    row("virtserialport", Kind::Port(PortKind::Serial), "a named port, on a chardev"),
    row(root_port::NAME, root_port::KIND, "a PCI Express port, whose bus has the name given by id="),
    row("isa-debug-exit", isa::DEBUG_EXIT, "a write of n ends the VMM with status 2n + 1"),
    row("pvpanic", isa::PVPANIC, "a panic of the guest ends the VMM with status 4"),
];
