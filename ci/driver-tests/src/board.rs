//! Transports with a device plugged in, as tests are generic over them.

use std::sync::Arc;

use virtio_bus::{ThreadRunner, VirtioProps};
use virtio_device::VirtioDevice;
use virtio_drivers::transport::Transport;
use virtio_mmio::{MmioParts, MmioProps, MmioSlot, MmioTransport};

use crate::{Guest, Memory, MmioDriver, Window};

/// A machine with one device, of which drivers can be bound one after the other.
pub trait Board {
    /// The drivers' way to it.
    type Driver: Transport;

    /// Plugs in `device`, with what transports offer unless told otherwise.
    fn new(guest: &Guest, device: impl VirtioDevice) -> Self
    where
        Self: Sized,
    {
        Self::offering(guest, device, &VirtioProps::default())
    }

    /// Plugs in `device`, offered with the features that `common` has on.
    fn offering(guest: &Guest, device: impl VirtioDevice, common: &VirtioProps) -> Self;

    /// Finds the device as a driver would.
    fn driver(&self) -> Self::Driver;
}

/// Version 2 of virtio-mmio.
pub struct Mmio(Arc<MmioTransport<Memory>>);

/// Version 1 of virtio-mmio.
pub struct LegacyMmio(Arc<MmioTransport<Memory>>);

impl Board for Mmio {
    type Driver = MmioDriver;

    fn offering(guest: &Guest, device: impl VirtioDevice, common: &VirtioProps) -> Self {
        Self(mmio(guest, device, &MmioProps::default(), common))
    }

    fn driver(&self) -> MmioDriver {
        probe(&self.0)
    }
}

impl Board for LegacyMmio {
    type Driver = MmioDriver;

    fn offering(guest: &Guest, device: impl VirtioDevice, common: &VirtioProps) -> Self {
        let props = MmioProps::default().force_legacy(true);
        Self(mmio(guest, device, &props, common))
    }

    fn driver(&self) -> MmioDriver {
        probe(&self.0)
    }
}

/// Makes a test of each function, on each transport. The functions are generic over [`Board`].
#[macro_export]
macro_rules! on_every_board {
    ($($test:ident),+ $(,)?) => {
        $crate::on_every_board!(@ [Mmio mmio] [LegacyMmio legacy_mmio] [Pci pci] [ModernPci modern_pci]
            [PciExpress pci_express] [Ccw ccw] [ClassicCcw classic_ccw] ; ($($test)+));
    };
    (@ $([$board:ident $name:ident])+ ; $tests:tt) => {
        $( mod $name { $crate::on_every_board!(@ $board $tests); } )+
    };
    (@ $board:ident ($($test:ident)+)) => {
        $( #[test] fn $test() { super::$test::<$crate::$board>(); } )+
    };
}

fn mmio(
    guest: &Guest,
    device: impl VirtioDevice,
    props: &MmioProps,
    common: &VirtioProps,
) -> Arc<MmioTransport<Memory>> {
    let parts = MmioParts {
        device: Box::new(device),
        runner: Arc::new(ThreadRunner::new("device")),
        memory: guest.memory().clone(),
        features: common.features(),
    };
    // The drivers poll; what they ask InterruptStatus needs no line.
    let slot = MmioSlot::new(MMIO, |_| Ok(()));
    Arc::new(MmioTransport::new(slot, props, parts).expect("a device on MMIO"))
}

fn probe(transport: &Arc<MmioTransport<Memory>>) -> MmioDriver {
    MmioDriver::new(Window::new(transport.clone(), MMIO, 0, MmioSlot::SIZE))
}

const MMIO: u64 = 0xd000_0000;
