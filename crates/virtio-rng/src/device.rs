//! The control plane of the entropy device.

use std::sync::Arc;

use virtio_device::props::PropError;
use virtio_device::{
    Activation, AddressSpace, ConfigCell, DeviceId, Error, Features, Info, Placed, QueueSize,
    Result, SavedState, Timer, VirtioDevice,
};

use crate::quota::Quota;
use crate::{EntropySource, RngProps, RngWorker};

/// An entropy device that gives its guest what `S` yields.
///
/// It has one queue of 8 descriptors, no feature bits and no configuration space.
pub struct Rng<S> {
    /// Away while a worker has it.
    source: Option<S>,
    /// Outlives resets, so that a guest cannot get around its limit by them.
    quota: Quota,
    config: Arc<ConfigCell>,
}

impl<S: EntropySource> Rng<S> {
    /// A device on `source`. The property `rng` is for the VMM, which chose the source by it.
    ///
    /// # Errors
    /// As [`RngProps::check`].
    pub fn new(props: &RngProps, source: S) -> Result<Self, PropError> {
        props.check()?;
        Ok(Self {
            source: Some(source),
            quota: Quota::new(props),
            config: Arc::default(),
        })
    }
}

impl<S: EntropySource> VirtioDevice for Rng<S> {
    type Worker<AS: AddressSpace> = RngWorker<S>;

    fn info(&self) -> Info {
        Info {
            id: DeviceId::ENTROPY,
            features: Features::NONE,
            dependencies: &[],
            queue_sizes: vec![QUEUE_SIZE],
        }
    }

    fn config(&self) -> Arc<ConfigCell> {
        self.config.clone()
    }

    fn activate<AS: AddressSpace>(
        &mut self,
        activation: Activation,
    ) -> Result<Vec<Placed<RngWorker<S>>>> {
        let timer = Timer::new()?;
        let source = self.source.take();
        let source = source.ok_or(Error::Misuse("the entropy source is with a worker"))?;
        Ok(vec![Placed {
            worker: RngWorker::new(source, self.quota.clone(), timer),
            queues: activation.queues,
        }])
    }

    fn deactivate<AS: AddressSpace>(&mut self, workers: Vec<RngWorker<S>>) {
        for worker in workers {
            let (source, quota) = worker.into_parts();
            self.source = Some(source);
            self.quota = quota;
        }
    }

    fn reset(&mut self) {
        // Nothing here is the driver's: see the fields.
        let Self {
            source: _,
            quota: _,
            config: _,
        } = self;
    }

    fn save(&self) -> Result<SavedState> {
        Ok(SavedState::new(KIND, VERSION, Vec::new()))
    }

    fn restore(&mut self, state: &SavedState) -> Result<()> {
        match state.expect(KIND, VERSION)? {
            [] => Ok(()),
            _ => Err(Error::State("an entropy device has no state of its own")),
        }
    }
}

const QUEUE_SIZE: QueueSize = QueueSize::of(8);
const KIND: &str = "virtio-rng";
const VERSION: u32 = 1;
