//! The control plane of the balloon.

use std::io;
use std::sync::Arc;

use virtio_device::{
    Activation, AddressSpace, ConfigCell, DeviceId, Error, Features, Info, Placed, QueueSize,
    Result, SavedState, VirtioDevice,
};

use crate::layout::{self, ACTUAL, HINT_COMMAND, PAGE_POISON, POISON, STOP};
use crate::role::Role;
use crate::shared::Shared;
use crate::{BalloonHandle, BalloonProps, BalloonWorker, HostMemory, Reclaim};

/// A balloon in its guest's memory, whose pages `R` gives up.
pub struct Balloon<R = HostMemory> {
    offer: Features,
    /// Away while a worker has it.
    reclaim: Option<R>,
    shared: Arc<Shared>,
}

impl<R: Reclaim> Balloon<R> {
    /// A balloon without pages, which wants none.
    ///
    /// # Errors
    /// A host without descriptors to give.
    pub fn new(props: &BalloonProps, reclaim: R) -> io::Result<Self> {
        let offer = props.features();
        let config = ConfigCell::new(vec![0; layout::length(offer)]);
        Ok(Self {
            offer,
            reclaim: Some(reclaim),
            shared: Arc::new(Shared::new(config)?),
        })
    }

    /// The VMM's hold on it.
    pub fn handle(&self) -> BalloonHandle {
        BalloonHandle(self.shared.clone())
    }
}

impl<R: Reclaim> VirtioDevice for Balloon<R> {
    type Worker<AS: AddressSpace> = BalloonWorker<R>;

    fn info(&self) -> Info {
        Info {
            id: DeviceId::BALLOON,
            features: self.offer,
            dependencies: &[],
            queue_sizes: Role::all(self.offer).map(|_| QUEUE_SIZE).collect(),
        }
    }

    fn config(&self) -> Arc<ConfigCell> {
        self.shared.config.clone()
    }

    /// `actual` and, where it is there, `poison_val` are the driver's.
    fn write_config(&mut self, offset: u64, data: &[u8]) {
        let before = self.shared.actual();
        for (at, &byte) in (offset..=u64::MAX).zip(data) {
            if (ACTUAL.has(at) || POISON.has(at))
                && let Ok(at) = usize::try_from(at)
            {
                self.shared.config.write(at, &[byte]);
            }
        }
        if self.shared.actual() != before {
            self.shared.announce();
        }
    }

    fn activate<AS: AddressSpace>(
        &mut self,
        activation: Activation,
    ) -> Result<Vec<Placed<BalloonWorker<R>>>> {
        let reclaim = self.reclaim.take();
        let reclaim = reclaim.ok_or(Error::Misuse("the balloon is with a worker"))?;
        self.shared.connect(Some(activation.host.clone()));
        let worker = BalloonWorker::new(reclaim, self.shared.clone(), &activation);
        Ok(vec![Placed {
            worker,
            queues: activation.queues,
        }])
    }

    fn deactivate<AS: AddressSpace>(&mut self, workers: Vec<BalloonWorker<R>>) {
        self.shared.connect(None);
        for worker in workers {
            self.reclaim = Some(worker.into_reclaim());
        }
    }

    /// What the VMM wants outlives it: the target, the interval. The guest has all its pages back.
    fn reset(&mut self) {
        let Self {
            offer: _,
            reclaim: _,
            shared,
        } = self;
        shared.hints().reset();
        HINT_COMMAND.store(&shared.config, STOP);
        POISON.store(&shared.config, 0);
        if ACTUAL.store(&shared.config, 0) {
            shared.announce();
        }
    }

    fn save(&self) -> Result<SavedState> {
        let Self {
            offer: _,
            reclaim: _,
            shared,
        } = self;
        // Target and hints are the VMM's: it asks for them again.
        let fields = [ACTUAL, POISON].map(|field| field.load(&shared.config));
        let bytes = fields.iter().flat_map(|field| field.to_le_bytes());
        Ok(SavedState::new(KIND, VERSION, bytes.collect()))
    }

    fn restore(&mut self, state: &SavedState) -> Result<()> {
        let bytes: &[u8; 8] = state
            .expect(KIND, VERSION)?
            .try_into()
            .map_err(|_| Error::State("a balloon has two numbers"))?;
        let config = &self.shared.config;
        for (field, value) in [ACTUAL, POISON].iter().zip(bytes.chunks(4)) {
            config.write(field.0, value);
        }
        self.shared.announce();
        Ok(())
    }
}

/// Whether pages that the guest fills with `poison` may come back as zeroes.
pub(crate) fn may_zero(features: Features, poison: u32) -> bool {
    poison == 0 || !features.contains(PAGE_POISON)
}

const QUEUE_SIZE: QueueSize = QueueSize::of(128);
const KIND: &str = "virtio-balloon";
const VERSION: u32 = 1;
