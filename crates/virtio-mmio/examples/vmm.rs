//! Putting a device on MMIO in an existing VMM. Here the "guest" is a few register accesses, as its
//! exits would bring them to the VMM; the last lines tell a real one where its device is.

use std::error::Error;
use std::sync::Arc;

use virtio_bus::{ThreadRunner, VirtioProps};
use virtio_device::vm_memory::{GuestAddress, GuestMemoryMmap};
use virtio_mmio::vm_device::bus::{MmioAddress, MmioRange};
use virtio_mmio::vm_device::device_manager::{IoManager, MmioManager};
use virtio_mmio::{MmioParts, MmioProps, MmioSlot, MmioTransport};
use virtio_rng::{HostRandom, Rng, RngProps};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

const ADDRESS: u64 = 0xd000_0000;
const GSI: u32 = 5;

fn main() -> Result<(), Box<dyn Error>> {
    // What the VMM has anyway: guest memory, an address map, an interrupt controller.
    let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), 64 << 20)])?;
    let mut io = IoManager::new();
    let irq = EventFd::new(EFD_NONBLOCK)?;
    // vm.register_irqfd(&irq, GSI)?;

    // The device, and where its worker runs.
    let parts = MmioParts {
        device: Box::new(Rng::new(&RngProps::default(), HostRandom)?),
        runner: Arc::new(ThreadRunner::new("rng")),
        memory: Arc::new(memory),
        features: VirtioProps::default().features(),
    };

    // Its place on the bus. With `.ioeventfds(..)`, notifications stay in the kernel.
    let slot = MmioSlot::new(ADDRESS, irq);
    let transport = Arc::new(MmioTransport::new(slot, &MmioProps::default(), parts)?);
    let window = MmioRange::new(MmioAddress(ADDRESS), MmioSlot::SIZE)?;
    io.register_mmio(window, transport.clone())?;

    // The vCPU threads pass on what their guests do.
    for (name, offset) in [("magic", 0), ("version", 4), ("device id", 8)] {
        let mut data = [0; 4];
        io.mmio_read(MmioAddress(ADDRESS + offset), &mut data)?;
        println!("{name}: {:#x}", u32::from_le_bytes(data));
    }
    io.mmio_write(MmioAddress(ADDRESS + 0x70), &1u32.to_le_bytes())?;

    // A snapshot, or a migration.
    transport.pause();
    println!("status: {:?}", transport.save()?.core.status);
    transport.resume();

    println!(
        "kernel command line: virtio_mmio.device={}@{ADDRESS:#x}:{GSI}",
        MmioSlot::SIZE
    );
    Ok(())
}
