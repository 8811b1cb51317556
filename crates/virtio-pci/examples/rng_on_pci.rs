//! virtio-rng on PCI in an existing VMM, which brings memory, `IoManager` and interrupts.

use std::{error::Error, io, sync::Arc};

use virtio_device::vm_memory::{GuestAddress, GuestMemoryMmap};
use virtio_pci::virtio_bus::{ThreadRunner, VirtioProps};
use virtio_pci::vm_pci::*;
use virtio_pci::{PciParts, PciProps, PciSlot, PciTransport, Place};
use virtio_rng::{HostRandom, Rng, RngProps};
use vm_device::bus::MmioAddress;
use vm_device::device_manager::{IoManager, MmioManager};
use vmm_sys_util::eventfd::EventFd;

/// Interrupt messages; on KVM, each is an irqfd and an entry of the routing table.
struct Messages;
struct Message;

impl MsiSink for Messages {
    fn vector(&self) -> io::Result<Arc<dyn MsiVector>> {
        Ok(Arc::new(Message))
    }
}
impl MsiVector for Message {
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

fn main() -> Result<(), Box<dyn Error>> {
    let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), 1 << 20)])?;
    let windows = Windows {
        mmio32: Some(0xc000_0000..=0xdfff_ffff),
        ..Windows::default()
    };
    let bridge = Arc::new(HostBridge::new(HostBridge::Q35)?);
    let root = Arc::new(RootComplex::new(windows, bridge)?);

    let parts = PciParts {
        device: Box::new(Rng::new(&RngProps::default(), HostRandom)?),
        runner: Arc::new(ThreadRunner::new("rng")),
        memory: Arc::new(memory),
        features: VirtioProps::default().features(),
    };
    let slot = PciSlot::new(Place::RootBus, Arc::new(Messages));
    let rng = Arc::new(PciTransport::new(slot, &PciProps::default(), parts)?);
    root.attach(BusId::ROOT, Slot::new(1, 0), rng)?;

    let mut io = IoManager::new();
    root.register(&mut io, Some((0xe000_0000, 1)))?;
    let mut ids = [0; 4];
    io.mmio_read(MmioAddress(0xe000_0000 + (1 << 15)), &mut ids)?;
    assert_eq!(ids, [0xf4, 0x1a, 0x05, 0x10]);
    Ok(())
}
