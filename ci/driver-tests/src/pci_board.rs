//! Machines with the device on PCI.

use std::io;
use std::sync::Arc;

use virtio_bus::{ThreadRunner, VirtioProps};
use virtio_device::VirtioDevice;
use virtio_device::props::OnOffAuto;
use virtio_drivers::transport::pci::bus::PciRoot;
use virtio_pci::{PciParts, PciProps, PciSlot, PciTransport, Place};
use vm_pci::{
    BusId, Ecam, HostBridge, IrqPin, MsiMessage, MsiSink, MsiVector, RootComplex, RootPort,
    RootPortConfig, Slot, Windows,
};
use vmm_sys_util::eventfd::EventFd;

use crate::{BarSpace, Board, EcamAccess, Guest, PciDriver, Window};

/// A transitional function on the root bus.
pub struct Pci(Arc<RootComplex>);

/// A modern-only function on the root bus.
pub struct ModernPci(Arc<RootComplex>);

/// A PCI Express endpoint behind a root port.
pub struct PciExpress(Arc<RootComplex>);

macro_rules! pci_board {
    ($board:ident, $place:expr, $disable_legacy:expr) => {
        impl Board for $board {
            type Driver = PciDriver;

            fn offering(guest: &Guest, device: impl VirtioDevice, common: &VirtioProps) -> Self {
                let props = PciProps::default().disable_legacy($disable_legacy);
                Self(machine(guest, device, $place, &props, common))
            }

            fn driver(&self) -> PciDriver {
                probe(&self.0)
            }
        }
    };
}

pci_board!(Pci, Place::RootBus, OnOffAuto::Auto);
pci_board!(ModernPci, Place::RootBus, OnOffAuto::On);
pci_board!(PciExpress, Place::RootPort, OnOffAuto::Auto);

/// Wires to nowhere: the drivers poll, and ask the ISR register.
struct Unconnected;

impl IrqPin for Unconnected {
    fn set(&self, _: bool) {}
}

impl MsiSink for Unconnected {
    fn vector(&self) -> io::Result<Arc<dyn MsiVector>> {
        Ok(Arc::new(Self))
    }
}

impl MsiVector for Unconnected {
    fn program(&self, _: Option<MsiMessage>) -> io::Result<()> {
        Ok(())
    }

    fn fire(&self) -> io::Result<()> {
        Ok(())
    }

    fn irqfd(&self) -> Option<&EventFd> {
        None
    }
}

fn machine(
    guest: &Guest,
    device: impl VirtioDevice,
    place: Place,
    props: &PciProps,
    common: &VirtioProps,
) -> Arc<RootComplex> {
    let slot = PciSlot {
        place,
        msi: Arc::new(Unconnected),
        intx: Some(Arc::new(Unconnected)),
        ioeventfds: None,
        reset_waits: false,
    };
    let parts = PciParts {
        device: Box::new(device),
        runner: Arc::new(ThreadRunner::new("device")),
        memory: guest.memory().clone(),
        features: common.features(),
    };
    let function = PciTransport::new(slot, props, parts).expect("a device on PCI");
    let root = root_complex();
    let (bus, slot) = match place {
        Place::RootBus => (BusId::ROOT, Slot::new(1, 0)),
        Place::RootPort => (port(&root), Slot::new(0, 0)),
    };
    root.attach(bus, slot, Arc::new(function))
        .expect("a free slot");
    root.assign_bars().expect("room for BARs");
    root
}

fn root_complex() -> Arc<RootComplex> {
    let windows = Windows {
        pio: Some(0xc000..=0xfffe),
        mmio32: Some(BARS..=BARS + BARS_SIZE - 1),
        mmio64: None,
    };
    let bridge = HostBridge::new(HostBridge::Q35).expect("host bridge");
    let root = RootComplex::new(windows, Arc::new(bridge));
    Arc::new(root.expect("root complex"))
}

fn port(root: &RootComplex) -> BusId {
    let port = RootPort::new(RootPortConfig::new(1)).expect("root port");
    root.attach_port(Slot::new(2, 0), Arc::new(port))
        .expect("a free slot")
}

fn probe(root: &Arc<RootComplex>) -> PciDriver {
    let ecam = Arc::new(Ecam::new(root.clone()));
    let buses = 2;
    let access = Window::new(ecam, ECAM, 0, buses << Ecam::BUS_SHIFT);
    let space = BarSpace {
        device: root.mmio_window(),
        base: BARS,
    };
    let mut driver = PciRoot::new(EcamAccess(access.clone()));
    PciDriver::new(&mut driver, &EcamAccess(access), &space)
}

const ECAM: u64 = 0xe000_0000;
const BARS: u64 = 0xc000_0000;
const BARS_SIZE: u64 = 0x1000_0000;
