//! A transport in some forty lines, and a driver's way through it to DRIVER_OK.

use std::io;
use std::sync::Arc;

use virtio_bus::{Core, Kicks, Parts, Status, ThreadRunner, VirtioBus, VirtioProps};
use virtio_device::vm_memory::{GuestAddress, GuestMemoryMmap};
use virtio_device::vmm_sys_util::eventfd::EventFd;
use virtio_device::{Features, Interrupt, IrqSource};

/// A transport that prints instead of interrupting.
struct PrintingBus;

impl VirtioBus for PrintingBus {
    fn features(&self, offer: Features) -> Features {
        // Notification data would need a register that this transport does not have.
        offer - Features::NOTIFICATION_DATA
    }

    fn legacy(&self) -> bool {
        false
    }

    fn interrupt(&self) -> Arc<dyn Interrupt> {
        Arc::new(Self)
    }

    fn assign_kicks(&self, kicks: &Kicks) -> io::Result<()> {
        println!("{} queues could have an ioeventfd now", kicks.fds().len());
        Ok(())
    }

    fn release_kicks(&self, _: &Kicks) {
        println!("and now no longer");
    }
}

impl Interrupt for PrintingBus {
    fn trigger(&self, source: IrqSource) -> io::Result<()> {
        println!("interrupt: {source:?}");
        Ok(())
    }

    fn irqfd(&self, _: IrqSource) -> Option<EventFd> {
        None
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), 1 << 20)])?;
    let mut core = Core::new(Parts {
        device: Box::new(zero::Zero::default()),
        runner: Arc::new(ThreadRunner::new("zero")),
        memory: Arc::new(memory),
        bus: Arc::new(PrintingBus),
        features: VirtioProps::default().features(),
    })?;
    println!("{}, status {:?}", core.id(), core.status());
    core.write_status(Status::ACKNOWLEDGE | Status::DRIVER);
    let wanted = core.offered() & Features::VERSION_1;
    (0..4).for_each(|page| core.write_driver_features(page, wanted.page(page)));
    core.write_status(core.status() | Status::FEATURES_OK);
    // Here a driver sets up its queues.
    core.write_status(core.status() | Status::DRIVER_OK);
    println!("running, status {:?}", core.status());
    core.write_status(Status::RESET);
    core.wait_reset();
    println!("reset, status {:?}", core.status());
    Ok(())
}

/// The device of the other example.
#[path = "../../virtio-device/examples/zero.rs"]
#[allow(dead_code, reason = "its main is another's")]
mod zero;
