//! The control plane of the 9P transport.

use std::sync::Arc;

use p9_server::{FileSystem, Limits, Session};
use virtio_device::props::PropError;
use virtio_device::{
    Activation, AddressSpace, ConfigCell, DeviceId, Error, Features, Info, Placed, QueueSize,
    Result, SavedState, VirtioDevice,
};

use crate::{Executor, NinePProps, NinePWorker};

/// A 9P transport on the file system `F`.
///
/// It has one queue, and in its configuration space the tag by which the guest mounts it.
pub struct NineP<F: FileSystem> {
    session: Arc<Session<F>>,
    executor: Option<Arc<dyn Executor>>,
    config: Arc<ConfigCell>,
}

impl<F: FileSystem> NineP<F> {
    /// A device that shares `fs` within `limits`. The property `fsdev` is for the VMM, which chose
    /// the file system by it.
    ///
    /// # Errors
    /// [`PropError::Value`] where there is no tag, or it is too long.
    pub fn new(props: &NinePProps, fs: Arc<F>, limits: Limits) -> Result<Self, PropError> {
        let tag = props.tag()?;
        let mut config = (tag.len() as u16).to_le_bytes().to_vec();
        config.extend(tag.bytes());
        Ok(Self {
            session: Arc::new(Session::new(fs, limits)),
            executor: None,
            config: Arc::new(ConfigCell::new(config).with_widths(&[2])),
        })
    }

    /// Has requests that wait for the host served by `executor`. Without one, the worker waits
    /// itself, and other requests with it.
    #[must_use]
    pub fn with_executor(mut self, executor: Arc<dyn Executor>) -> Self {
        self.executor = Some(executor);
        self
    }
}

impl<F: FileSystem> VirtioDevice for NineP<F> {
    type Worker<AS: AddressSpace> = NinePWorker<F>;

    fn info(&self) -> Info {
        Info {
            id: DeviceId::P9,
            features: MOUNT_TAG,
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
    ) -> Result<Vec<Placed<NinePWorker<F>>>> {
        let session = Arc::clone(&self.session);
        Ok(vec![Placed {
            worker: NinePWorker::new(session, self.executor.clone())?,
            queues: activation.queues,
        }])
    }

    fn deactivate<AS: AddressSpace>(&mut self, workers: Vec<NinePWorker<F>>) {
        // Quiesced, they have nothing that the device needs: the fids are the session's.
        drop(workers);
    }

    fn reset(&mut self) {
        let Self {
            session,
            executor: _,
            config: _,
        } = self;
        session.reset();
    }

    /// What a client has open cannot be written down: descriptors are not names.
    fn save(&self) -> Result<SavedState> {
        match self.session.is_idle() {
            true => Ok(SavedState::new(KIND, VERSION, Vec::new())),
            false => Err(MOUNTED),
        }
    }

    fn restore(&mut self, state: &SavedState) -> Result<()> {
        match state.expect(KIND, VERSION)? {
            [] => {
                self.session.reset();
                Ok(())
            }
            _ => Err(Error::State("not that of a 9P transport")),
        }
    }
}

/// VIRTIO_9P_MOUNT_TAG: there is a tag.
const MOUNT_TAG: Features = Features::bit(0);
const QUEUE_SIZE: QueueSize = QueueSize::of(128);
const KIND: &str = "virtio-9p";
const VERSION: u32 = 1;
const MOUNTED: Error = Error::Misuse("the shared directory is mounted");
