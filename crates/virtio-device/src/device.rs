//! The control plane: what a device author implements, and its object-safe twin.

use std::any::Any;
use std::sync::Arc;

use vm_memory::GuestAddressSpace;

use crate::{
    ByteOrder, ConfigCell, Dependency, DeviceHost, DeviceId, Features, QueueSize, Result,
    SavedState, Worker,
};

/// A [`GuestAddressSpace`] as every crate here needs it: shareable between threads.
///
/// `GuestMemoryAtomic<GuestMemoryMmap<B>>`, `Arc<GuestMemoryMmap<B>>` and vm-memory's
/// `IommuMemory` behind either all are one.
pub trait AddressSpace:
    GuestAddressSpace<M: Send + Sync + 'static, T: Send + Sync + 'static> + Send + Sync + 'static
{
}

impl<A> AddressSpace for A where
    A: GuestAddressSpace<M: Send + Sync + 'static, T: Send + Sync + 'static>
        + Send
        + Sync
        + 'static
{
}

/// What a device is, as its transport shows it to the driver.
#[derive(Clone, Debug)]
pub struct Info {
    /// Virtio device ID.
    pub id: DeviceId,
    /// Device-specific feature bits that the device offers (section 5). Ring and transport bits
    /// are added by the bus.
    pub features: Features,
    /// What the device-specific bits require of one another.
    pub dependencies: &'static [Dependency],
    /// Largest size of each queue, in descriptors. Its length is the number of queues.
    pub queue_sizes: Vec<QueueSize>,
}

/// What the driver settled on when it set DRIVER_OK.
#[derive(Clone)]
pub struct Activation {
    /// The negotiated features, of device, ring and transport.
    pub features: Features,
    /// The byte order of the numbers in requests.
    pub order: ByteOrder,
    /// Indices of the queues that the driver enabled, ascending.
    pub queues: Vec<u16>,
    /// The device's way to reach its driver outside the rings.
    pub host: Arc<dyn DeviceHost>,
}

/// A worker and the queues that it is to own. Queues placed with one worker are served by one
/// thread of control; workers run independently of one another.
#[derive(Debug)]
pub struct Placed<W> {
    /// The worker.
    pub worker: W,
    /// Indices of its queues.
    pub queues: Vec<u16>,
}

/// The control plane of a virtio device.
///
/// Nothing here blocks: activation hands out [`Worker`]s, which the VMM runs where it likes and
/// later hands back, quiesced, to [`deactivate`](Self::deactivate). Reset, pause, snapshot,
/// migration and queue reset are all this one path.
pub trait VirtioDevice: Send + 'static {
    /// The data plane of this device.
    type Worker<AS: AddressSpace>: Worker<AS>;

    /// What the device is. Constant while a driver is bound.
    fn info(&self) -> Info;

    /// The configuration space, shared with the transport, which reads it without this device.
    fn config(&self) -> Arc<ConfigCell>;

    /// The driver wrote `data` at byte `offset` of the configuration space. Fields that are
    /// read-only to the driver ignore it.
    fn write_config(&mut self, offset: u64, data: &[u8]) {
        let _ = (offset, data);
    }

    /// The last word at FEATURES_OK: `features` is a subset of the offer with every dependency
    /// met. False refuses it (section 2.2.2).
    fn accept(&self, features: Features) -> bool {
        let _ = features;
        true
    }

    /// The driver set DRIVER_OK: hand out the workers.
    ///
    /// # Errors
    /// The bus sets DEVICE_NEEDS_RESET and the driver sees a dead device.
    fn activate<AS: AddressSpace>(
        &mut self,
        activation: Activation,
    ) -> Result<Vec<Placed<Self::Worker<AS>>>>;

    /// The workers come back, quiesced: take from them what must outlive them.
    fn deactivate<AS: AddressSpace>(&mut self, workers: Vec<Self::Worker<AS>>);

    /// Back to the state of a new device (section 2.4). Called deactivated.
    fn reset(&mut self);

    /// The device's own state. Called deactivated.
    ///
    /// # Errors
    /// [`Error::Backend`](crate::Error::Backend) where a back-end cannot tell its state.
    fn save(&self) -> Result<SavedState>;

    /// Takes over a saved state. Called deactivated; the state is untrusted.
    ///
    /// # Errors
    /// [`Error::State`](crate::Error::State) where it does not fit this device; the device is
    /// then as it was.
    fn restore(&mut self, state: &SavedState) -> Result<()>;
}

/// [`VirtioDevice`] for a known address space, object-safe: what a transport holds. Implemented
/// for every [`VirtioDevice`]; implement that one.
pub trait DynDevice<AS: AddressSpace>: Send {
    /// See [`VirtioDevice::info`].
    fn info(&self) -> Info;
    /// See [`VirtioDevice::config`].
    fn config(&self) -> Arc<ConfigCell>;
    /// See [`VirtioDevice::write_config`].
    fn write_config(&mut self, offset: u64, data: &[u8]);
    /// See [`VirtioDevice::accept`].
    fn accept(&self, features: Features) -> bool;
    /// See [`VirtioDevice::activate`].
    ///
    /// # Errors
    /// As there.
    fn activate(&mut self, activation: Activation) -> Result<Vec<Placed<Box<dyn Worker<AS>>>>>;
    /// See [`VirtioDevice::deactivate`]. A worker of another device is dropped.
    fn deactivate(&mut self, workers: Vec<Box<dyn Worker<AS>>>);
    /// See [`VirtioDevice::reset`].
    fn reset(&mut self);
    /// See [`VirtioDevice::save`].
    ///
    /// # Errors
    /// As there.
    fn save(&self) -> Result<SavedState>;
    /// See [`VirtioDevice::restore`].
    ///
    /// # Errors
    /// As there.
    fn restore(&mut self, state: &SavedState) -> Result<()>;
}

impl<D: VirtioDevice, AS: AddressSpace> DynDevice<AS> for D {
    fn info(&self) -> Info {
        VirtioDevice::info(self)
    }

    fn config(&self) -> Arc<ConfigCell> {
        VirtioDevice::config(self)
    }

    fn write_config(&mut self, offset: u64, data: &[u8]) {
        VirtioDevice::write_config(self, offset, data);
    }

    fn accept(&self, features: Features) -> bool {
        VirtioDevice::accept(self, features)
    }

    fn activate(&mut self, activation: Activation) -> Result<Vec<Placed<Box<dyn Worker<AS>>>>> {
        let placed = VirtioDevice::activate::<AS>(self, activation)?;
        let erase = |p: Placed<D::Worker<AS>>| Placed {
            worker: Box::new(p.worker) as Box<dyn Worker<AS>>,
            queues: p.queues,
        };
        Ok(placed.into_iter().map(erase).collect())
    }

    fn deactivate(&mut self, workers: Vec<Box<dyn Worker<AS>>>) {
        let own = workers
            .into_iter()
            .filter_map(|w| (w as Box<dyn Any>).downcast().ok());
        VirtioDevice::deactivate::<AS>(self, own.map(|w| *w).collect());
    }

    fn reset(&mut self) {
        VirtioDevice::reset(self);
    }

    fn save(&self) -> Result<SavedState> {
        VirtioDevice::save(self)
    }

    fn restore(&mut self, state: &SavedState) -> Result<()> {
        VirtioDevice::restore(self, state)
    }
}
