//! A transport in some forty lines, and a driver's way through it to DRIVER_OK.

use std::io;
use std::sync::Arc;

use virtio_bus::{Core, Kicks, Parts, Status, ThreadRunner, VirtioBus, VirtioProps};
use virtio_device::vm_memory::{GuestAddress, GuestMemoryMmap};
use virtio_device::vmm_sys_util::eventfd::EventFd;
use virtio_device::{
    Activation, AddressSpace, ByteOrder, ConfigCell, Cx, DeviceId, Features, Info, Interrupt,
    IrqSource, Placed, Progress, QueueSize, Result, SavedState, VirtioDevice, Worker,
};

/// A transport that prints instead of interrupting.
struct PrintingBus;

impl VirtioBus for PrintingBus {
    fn features(&self, offer: Features) -> Features {
        // Notification data would need a register that this transport does not have.
        offer - Features::NOTIFICATION_DATA
    }

    fn legacy(&self) -> Option<ByteOrder> {
        None
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

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), 1 << 20)])?;
    let mut core = Core::new(Parts {
        device: Box::new(Idle::default()),
        runner: Arc::new(ThreadRunner::new("idle")),
        memory: Arc::new(memory),
        bus: Arc::new(PrintingBus),
        features: VirtioProps::default().features(),
    })?;
    println!("{}, status {:?}", core.id(), core.status());
    core.write_status(Status::ACKNOWLEDGE | Status::DRIVER);
    let wanted = core.offered() & Features::VERSION_1;
    (0..4).for_each(|page| core.write_driver_features(page, wanted.page(page)));
    core.write_status(Status::FEATURES_OK);
    assert!(core.status().contains(Status::FEATURES_OK));
    // Here a driver sets up its queues.
    core.write_status(Status::DRIVER_OK);
    println!("running, status {:?}", core.status());
    core.write_status(Status::RESET);
    core.wait_reset();
    println!("reset, status {:?}", core.status());
    Ok(())
}

/// A device that does nothing: for one that does something, see the example of `virtio-device`.
#[derive(Default)]
struct Idle(Arc<ConfigCell>);

struct IdleWorker;

impl VirtioDevice for Idle {
    type Worker<AS: AddressSpace> = IdleWorker;

    fn info(&self) -> Info {
        Info {
            id: DeviceId(0x3f),
            features: Features::NONE,
            dependencies: &[],
            queue_sizes: vec![QueueSize::of(16)],
        }
    }

    fn config(&self) -> Arc<ConfigCell> {
        self.0.clone()
    }

    fn activate<AS: AddressSpace>(&mut self, a: Activation) -> Result<Vec<Placed<IdleWorker>>> {
        let (worker, queues) = (IdleWorker, a.queues);
        Ok(vec![Placed { worker, queues }])
    }

    fn deactivate<AS: AddressSpace>(&mut self, _: Vec<IdleWorker>) {}

    fn reset(&mut self) {}

    fn save(&self) -> Result<SavedState> {
        Ok(SavedState::new("idle", 1, Vec::new()))
    }

    fn restore(&mut self, state: &SavedState) -> Result<()> {
        state.expect("idle", 1).map(|_| ())
    }
}

impl<AS: AddressSpace> Worker<AS> for IdleWorker {
    fn kick(&mut self, _: u16, _: &mut Cx<'_, AS>) -> Result<Progress> {
        Ok(Progress::Idle)
    }
}
