//! A whole virtio device in some sixty lines: it fills the driver's buffers with zeroes.
//!
//! There is nothing in it about PCI, MMIO, threads or event loops: crate `virtio-bus` and a
//! transport bring those.

use std::sync::Arc;

use virtio_device::{
    Activation, AddressSpace, Chain, ConfigCell, Cx, DeviceId, Features, Info, Placed, Progress,
    QueueSize, Result, SavedState, VirtioDevice, Worker,
};

/// The control plane: what the device is.
#[derive(Default)]
struct Zero {
    config: Arc<ConfigCell>,
}

impl VirtioDevice for Zero {
    type Worker<AS: AddressSpace> = ZeroWorker;

    fn info(&self) -> Info {
        Info {
            id: DeviceId::ENTROPY,
            features: Features::NONE,
            dependencies: &[],
            queue_sizes: vec![QueueSize::of(64)],
        }
    }

    fn config(&self) -> Arc<ConfigCell> {
        self.config.clone()
    }

    fn activate<AS: AddressSpace>(&mut self, a: Activation) -> Result<Vec<Placed<ZeroWorker>>> {
        let (worker, queues) = (ZeroWorker::default(), a.queues);
        Ok(vec![Placed { worker, queues }])
    }

    fn deactivate<AS: AddressSpace>(&mut self, _workers: Vec<ZeroWorker>) {}

    fn reset(&mut self) {}

    fn save(&self) -> Result<SavedState> {
        Ok(SavedState::new("zero", 1, Vec::new()))
    }

    fn restore(&mut self, state: &SavedState) -> Result<()> {
        state.expect("zero", 1).map(|_| ())
    }
}

/// The data plane: what happens when the driver notifies a queue.
#[derive(Default)]
struct ZeroWorker {
    chain: Chain,
}

impl<AS: AddressSpace> Worker<AS> for ZeroWorker {
    fn kick(&mut self, queue: u16, cx: &mut Cx<'_, AS>) -> Result<Progress> {
        let Some(mut queue) = cx.queue(queue) else {
            return Ok(Progress::Idle);
        };
        while queue.pop(&mut self.chain)? {
            let len = self.chain.writable_len().min(4096);
            let zeroes = &[0; 4096][..len as usize];
            self.chain.write_at(queue.view(), 0, zeroes)?;
            queue.push(&mut self.chain, len);
        }
        Ok(Progress::Idle)
    }
}

fn main() {
    let device = Zero::default();
    println!("{} with {:?}", device.info().id, device.info().queue_sizes);
}
