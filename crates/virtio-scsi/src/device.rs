//! The control plane of the SCSI host device.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use guest_io::block::Backend;
use virtio_device::props::PropError;
use virtio_device::{
    Activation, AddressSpace, ByteOrder, ConfigCell, DeviceId, Error, Features, Info, Placed,
    QueueSize, Result, SavedState, VirtioDevice,
};

use crate::config_space::{self, CDB_SIZE, MAX_CDB, MAX_SENSE, SENSE_SIZE};
use crate::control::{CONTROL_QUEUE, ControlWorker, EVENT_QUEUE};
use crate::office::Office;
use crate::requests::{FIRST_REQUEST_QUEUE, RequestWorker};
use crate::saved::{self, Saved};
use crate::tasks::Slot;
use crate::worker::Role;
use crate::{ScsiHandle, ScsiProps, ScsiWorker};

/// A SCSI host bus adapter, whose units are on the storage of `B`.
///
/// Control and event queue have one worker, each request queue one of its own, so that request
/// queues can be served in parallel.
pub struct Scsi<B> {
    office: Arc<Office<B>>,
    config: Arc<ConfigCell>,
    features: Features,
    queues: u16,
    queue_size: QueueSize,
    /// Requests that failed and are begun again, by queue.
    kept: BTreeMap<u16, Vec<Slot>>,
}

/// Why a device cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScsiError {
    /// A property is out of range.
    #[error(transparent)]
    Property(#[from] PropError),
    /// The host has no descriptors left.
    #[error("SCSI host device: {0}")]
    Host(#[from] io::Error),
}

impl<B: Backend> Scsi<B> {
    /// A device without units; see [`ScsiHandle::add`].
    ///
    /// # Errors
    /// [`ScsiError::Property`] for the first property that is out of range, and
    /// [`ScsiError::Host`].
    pub fn new(props: &ScsiProps) -> Result<Self, ScsiError> {
        props.check()?;
        let queues = props.queues();
        Ok(Self {
            office: Arc::new(Office::new(queues)?),
            config: Arc::new(config_space::new(props, queues.into())),
            features: HOTPLUG.when(props.hotplug) | CHANGE.when(props.param_change),
            queues,
            queue_size: props.size()?,
            kept: BTreeMap::new(),
        })
    }

    /// A hold on the device for when a transport owns it.
    pub fn handle(&self) -> ScsiHandle<B> {
        ScsiHandle {
            office: self.office.clone(),
        }
    }

    /// Takes over what a driver has set, where it may be set so.
    fn set_sizes(&self, sense: u32, cdb: u32) {
        let sizes = [
            (sense, MAX_SENSE, &self.office.sense_size, SENSE_SIZE),
            (cdb, MAX_CDB, &self.office.cdb_size, CDB_SIZE),
        ];
        for (size, max, own, offset) in sizes {
            if size <= max {
                own.store(size, Ordering::Relaxed);
                self.config.write(offset, &size.to_le_bytes());
            }
        }
    }

    fn requests<AS: AddressSpace>(
        &mut self,
        number: u16,
        order: ByteOrder,
    ) -> Placed<ScsiWorker<B, AS::T>> {
        let size = self.queue_size.get();
        let queue = number + FIRST_REQUEST_QUEUE;
        let again = self.kept.remove(&queue).unwrap_or_default();
        let worker = RequestWorker::new(queue, size, self.office.clone(), order).again(again);
        Placed {
            worker: ScsiWorker(Role::Requests(Box::new(worker))),
            queues: vec![queue],
        }
    }
}

impl<B: Backend> VirtioDevice for Scsi<B> {
    type Worker<AS: AddressSpace> = ScsiWorker<B, AS::T>;

    fn info(&self) -> Info {
        let queues = self.queues + FIRST_REQUEST_QUEUE;
        Info {
            id: DeviceId::SCSI,
            features: self.features,
            dependencies: &[],
            queue_sizes: vec![self.queue_size; queues.into()],
        }
    }

    fn config(&self) -> Arc<ConfigCell> {
        self.config.clone()
    }

    /// `sense_size` and `cdb_size` are what a driver may write.
    fn write_config(&mut self, offset: u64, data: &[u8]) {
        let mut bytes = self.config.snapshot();
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let field = bytes.get_mut(start..).unwrap_or_default();
        field
            .iter_mut()
            .zip(data)
            .for_each(|(to, from)| *to = *from);
        let size = |at: usize| {
            let field = bytes.get(at..).and_then(|tail| tail.first_chunk());
            u32::from_le_bytes(field.copied().unwrap_or_default())
        };
        self.set_sizes(size(SENSE_SIZE), size(CDB_SIZE));
    }

    fn activate<AS: AddressSpace>(
        &mut self,
        activation: Activation,
    ) -> Result<Vec<Placed<Self::Worker<AS>>>> {
        let Activation {
            features,
            order,
            queues,
            host: _,
        } = activation;
        self.office.events().want(features);
        // A queue that is being reset is not enabled now but may be later.
        let later = features.contains(Features::RING_RESET);
        let used = |&number: &u16| later || queues.contains(&(number + FIRST_REQUEST_QUEUE));
        let served: Vec<_> = (0..self.queues).filter(used).collect();
        let control = ControlWorker::new(self.office.clone(), served.clone(), order);
        let control = Placed {
            worker: ScsiWorker(Role::Control(control)),
            queues: vec![CONTROL_QUEUE, EVENT_QUEUE],
        };
        let requests = served.into_iter();
        let requests = requests.map(|number| self.requests::<AS>(number, order));
        Ok(std::iter::once(control).chain(requests).collect())
    }

    fn deactivate<AS: AddressSpace>(&mut self, workers: Vec<Self::Worker<AS>>) {
        let kept = workers.into_iter().filter_map(ScsiWorker::into_kept);
        self.kept.extend(kept.filter(|(_, kept)| !kept.is_empty()));
        // Orders that none of them has seen concern nothing any more.
        for inbox in &self.office.inboxes {
            drop(inbox.take());
        }
    }

    fn reset(&mut self) {
        let Self {
            office,
            config: _,
            features: _,
            queues: _,
            queue_size: _,
            kept,
        } = self;
        kept.clear();
        office.events().clear();
        for unit in office.roster.units().values() {
            unit.power_on();
        }
        self.set_sizes(config_space::DEFAULT_SENSE, config_space::DEFAULT_CDB);
    }

    fn save(&self) -> Result<SavedState> {
        if !self.kept.is_empty() {
            return Err(Error::Misuse("failed requests wait to be made again"));
        }
        let (sense_size, cdb_size) = self.office.sizes();
        let units = self.office.roster.units();
        let units = units.iter().map(|(&address, unit)| (address, unit.save()));
        let saved = Saved {
            sense_size,
            cdb_size,
            units: units.collect(),
        };
        let bytes = saved.encode();
        Ok(SavedState::new(saved::KIND, saved::VERSION, bytes))
    }

    fn restore(&mut self, state: &SavedState) -> Result<()> {
        let bytes = state.expect(saved::KIND, saved::VERSION)?;
        let saved = Saved::decode(bytes).ok_or(OTHER)?;
        let units = self.office.roster.units();
        let known = saved.units.iter().map(|(address, _)| address);
        if !known.eq(units.keys()) {
            return Err(Error::State("other units on the bus"));
        }
        let old: Vec<_> = units.values().map(|unit| unit.save()).collect();
        let all = units.values().zip(&saved.units);
        if !all
            .into_iter()
            .all(|(unit, (_, bytes))| unit.restore(bytes))
        {
            for (unit, bytes) in units.values().zip(&old) {
                unit.restore(bytes);
            }
            return Err(OTHER);
        }
        self.set_sizes(saved.sense_size, saved.cdb_size);
        Ok(())
    }
}

/// VIRTIO_SCSI_F_HOTPLUG.
pub(crate) const HOTPLUG: Features = Features::bit(1);
/// VIRTIO_SCSI_F_CHANGE.
pub(crate) const CHANGE: Features = Features::bit(2);
const OTHER: Error = Error::State("not that of a SCSI host device");
