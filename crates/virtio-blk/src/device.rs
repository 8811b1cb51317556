//! The control plane of the block device.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use guest_io::block::{ErrorPolicy, Failure, Failures, Zones};
use virtio_device::props::OnOffAuto;
use virtio_device::virtio_bindings::virtio_blk as abi;
use virtio_device::{
    Activation, AddressSpace, ByteOrder, Chain, ConfigCell, Dependency, DeviceId, Error, Features,
    Info, Placed, QueueSize, Result, SavedState, VirtioDevice,
};

use crate::config::{SECURE_ERASE as ERASE_LIMIT, Setup};
use crate::limits::{Limits, RangeLimit, SECTOR};
use crate::resize::{DriverBell, Resizer};
use crate::shared::{Cache, Shared};
use crate::{Backend, BlkError, BlkProps, BlkWorker, layout};

/// A block device on the storage of `B`.
///
/// Each queue has a worker of its own, so that queues can be served in parallel.
pub struct Blk<B> {
    backend: B,
    shared: Arc<Shared>,
    config: Arc<ConfigCell>,
    features: Features,
    queues: u16,
    queue_size: QueueSize,
    /// The `writeback` field of a device that was reset.
    write_back: bool,
    /// Bytes of the longest segment, for drivers that know of it; 0: any.
    size_max: u32,
    bell: DriverBell,
    /// Requests that failed and are begun again, by queue.
    kept: BTreeMap<u16, Vec<Chain>>,
}

impl<B: Backend> Blk<B> {
    /// A device on `backend`, which it claims. The property `drive` is for the VMM, which chose
    /// the back-end by it, and so is [`BlkProps::AUTO_QUEUES`].
    ///
    /// # Errors
    /// Where a property is out of range or does not fit the back-end, or the back-end is in use or
    /// fails.
    pub fn new(props: &BlkProps, backend: B) -> Result<Self, BlkError> {
        Self::build(props, backend, None)
    }

    /// The same as a host-managed zoned device, which drivers have to know as such.
    ///
    /// Discards and write zeroes are not offered then, whatever `props` say.
    ///
    /// # Errors
    /// As [`new`](Self::new), and where `zones` are not those of this back-end.
    pub fn zoned(props: &BlkProps, backend: B, zones: Zones) -> Result<Self, BlkError> {
        Self::build(props, backend, Some(zones))
    }

    fn build(props: &BlkProps, backend: B, zones: Option<Zones>) -> Result<Self, BlkError> {
        props.check()?;
        let facts = backend.facts()?;
        let write_back = match props.write_cache {
            OnOffAuto::Auto => facts.write_back,
            given => given == OnOffAuto::On,
        };
        let setup = Setup::new(props, &facts, write_back, zones.as_ref())?;
        backend
            .claim(props.share_rw)
            .map_err(|error| match error.kind() {
                ErrorKind::WouldBlock => BlkError::InUse,
                _ => error.into(),
            })?;
        Ok(Self {
            shared: Arc::new(shared(props, &setup, facts.read_only, zones)),
            config: Arc::new(ConfigCell::new(setup.bytes(props)).with_widths(layout::WIDTHS)),
            features: features(props, &setup, facts.read_only),
            queues: props.queues(),
            queue_size: props.size()?,
            write_back,
            size_max: props.size_max.0,
            bell: DriverBell::default(),
            kept: BTreeMap::new(),
            backend,
        })
    }

    /// The same device, whose failed requests are judged by `policy`; see [`Failures::appoint`].
    /// Those that are kept go with the device through its deactivation, and are made again by the
    /// next workers; a reset, of the device or of their queue, drops them.
    #[must_use]
    pub fn judged(
        self,
        policy: ErrorPolicy,
        witness: impl Fn(&Failure<'_>) + Send + Sync + 'static,
    ) -> Self {
        self.shared.failures.appoint(policy, witness);
        self
    }

    /// A way to change the size of the disk later.
    pub fn resizer(&self) -> Resizer {
        Resizer {
            shared: self.shared.clone(),
            config: self.config.clone(),
            host: self.bell.clone(),
        }
    }

    fn set_write_back(&self, on: bool) {
        self.shared.write_back.store(on, Ordering::Release);
        self.config.write(layout::WRITEBACK.offset, &[on.into()]);
    }

    /// When writes are stable (section 5.2.6.2), given what was negotiated.
    fn cache(&self, features: Features) -> Cache {
        if features.contains(CONFIG_WCE) {
            Cache::Configured
        } else if features.contains(FLUSH) && self.write_back {
            Cache::WriteBack
        } else {
            // Without FLUSH the driver has no other way to make anything stable.
            Cache::WriteThrough
        }
    }

    fn worker<AS: AddressSpace>(
        &mut self,
        queue: u16,
        features: Features,
        order: ByteOrder,
    ) -> Result<BlkWorker<B::Channel<AS::T>>> {
        let size = self.queue_size.get();
        let channel = self.backend.channel(size)?;
        let (shared, cache) = (self.shared.clone(), self.cache(features));
        let size_max = match features.contains(SIZE_MAX) {
            true => self.size_max,
            false => u32::MAX,
        };
        let worker = BlkWorker::new(queue, size, channel, shared, cache, order);
        let again = self.kept.remove(&queue).unwrap_or_default();
        Ok(worker.size_max(size_max).again(again))
    }
}

impl<B: Backend> VirtioDevice for Blk<B> {
    type Worker<AS: AddressSpace> = BlkWorker<B::Channel<AS::T>>;

    fn info(&self) -> Info {
        Info {
            id: DeviceId::BLOCK,
            features: self.features,
            dependencies: DEPENDENCIES,
            queue_sizes: vec![self.queue_size; self.queues.into()],
        }
    }

    fn config(&self) -> Arc<ConfigCell> {
        self.config.clone()
    }

    /// `writeback` is the only field that a driver may write.
    fn write_config(&mut self, offset: u64, data: &[u8]) {
        let byte = (layout::WRITEBACK.offset as u64)
            .checked_sub(offset)
            .and_then(|index| data.get(usize::try_from(index).ok()?));
        if let Some(&byte) = byte
            && self.features.contains(CONFIG_WCE)
        {
            self.set_write_back(byte != 0);
        }
    }

    fn accept(&self, features: Features) -> bool {
        // Section 5.2.5.2: a driver that cannot flush starts without a write-back cache.
        if features.contains(CONFIG_WCE) && !features.contains(FLUSH) {
            self.set_write_back(false);
        }
        // Section 5.2.5.2: a host-managed disk is of no use to a driver that does not know it.
        self.shared.limits.zones.is_none() || features.contains(ZONED)
    }

    fn activate<AS: AddressSpace>(
        &mut self,
        activation: Activation,
    ) -> Result<Vec<Placed<Self::Worker<AS>>>> {
        let Activation {
            features,
            order,
            queues,
            host,
        } = activation;
        self.bell.connect(Some(host));
        // A queue that is being reset is not enabled now but may be later.
        let later = features.contains(Features::RING_RESET);
        (0..self.queues)
            .filter(|queue| later || queues.contains(queue))
            .map(|queue| {
                Ok(Placed {
                    worker: self.worker::<AS>(queue, features, order)?,
                    queues: vec![queue],
                })
            })
            .collect()
    }

    fn deactivate<AS: AddressSpace>(&mut self, workers: Vec<Self::Worker<AS>>) {
        let kept = workers.into_iter().map(BlkWorker::into_kept);
        self.kept.extend(kept.filter(|(_, kept)| !kept.is_empty()));
        self.bell.connect(None);
    }

    fn reset(&mut self) {
        let Self {
            backend: _,
            shared: _,
            config: _,
            features: _,
            queues: _,
            queue_size: _,
            size_max: _,
            bell: _,
            write_back,
            kept,
        } = self;
        kept.clear();
        let write_back = *write_back;
        self.set_write_back(write_back);
    }

    fn save(&self) -> Result<SavedState> {
        let Self { shared, kept, .. } = self;
        if !kept.is_empty() {
            return Err(Error::Misuse("failed requests wait to be made again"));
        }
        let mut bytes = vec![shared.write_back.load(Ordering::Acquire).into()];
        bytes.extend(shared.limits.capacity.load(Ordering::Acquire).to_le_bytes());
        bytes.extend(shared.limits.zones.iter().flat_map(Zones::save));
        Ok(SavedState::new(KIND, VERSION, bytes))
    }

    fn restore(&mut self, state: &SavedState) -> Result<()> {
        let &[write_back @ (0 | 1), ref rest @ ..] = state.expect(KIND, VERSION)? else {
            return Err(Error::State("not that of a block device"));
        };
        let limits = &self.shared.limits;
        let own = limits.capacity.load(Ordering::Acquire).to_le_bytes();
        let zones = rest.strip_prefix(&own);
        let zones = zones.ok_or(Error::State("a disk of another size"))?;
        match &limits.zones {
            Some(own) => own
                .restore(zones)
                .map_err(|_| Error::State("other zones, or none that can be stored"))?,
            None if zones.is_empty() => {}
            None => return Err(Error::State("more than that of a block device")),
        }
        self.set_write_back(write_back != 0);
        Ok(())
    }
}

fn shared(props: &BlkProps, setup: &Setup, read_only: bool, zones: Option<Zones>) -> Shared {
    let limit = |ranges, sectors| RangeLimit { ranges, sectors };
    let discard = limit(props.max_discard_segments, props.max_discard_sectors);
    let zeroes = limit(
        props.max_write_zeroes_segments,
        props.max_write_zeroes_sectors,
    );
    Shared {
        limits: Limits {
            capacity: AtomicU64::new(setup.size),
            logical_block: setup.block_size.logical.into(),
            read_only,
            discard: setup.discard.then_some(discard),
            write_zeroes: setup.write_zeroes.then_some(zeroes),
            secure_erase: setup.secure_erase.then_some(ERASE_LIMIT),
            lifetime: props.lifetime(),
            zones,
            max_append: setup.max_append_sectors(props) * SECTOR as u32,
        },
        id: id(props.serial.as_deref().unwrap_or_default()),
        write_back: AtomicBool::new(setup.write_back),
        failures: Failures::default(),
    }
}

fn features(props: &BlkProps, setup: &Setup, read_only: bool) -> Features {
    SEG_MAX
        | SIZE_MAX.when(props.size_max.0 > 0)
        | GEOMETRY
        | BLK_SIZE
        | FLUSH
        | TOPOLOGY
        | RO.when(read_only)
        | CONFIG_WCE.when(props.config_wce)
        | MQ.when(props.queues() > 1)
        | DISCARD.when(setup.discard)
        | WRITE_ZEROES.when(setup.write_zeroes)
        | SECURE_ERASE.when(setup.secure_erase)
        | LIFETIME.when(props.lifetime().is_some())
        | ZONED.when(setup.zones.is_some())
}

/// Padded with zeroes (section 5.2.6).
fn id(serial: &str) -> [u8; 20] {
    let mut id = [0; 20];
    id.iter_mut()
        .zip(serial.bytes())
        .for_each(|(to, from)| *to = from);
    id
}

const SIZE_MAX: Features = feature(abi::VIRTIO_BLK_F_SIZE_MAX);
const SEG_MAX: Features = feature(abi::VIRTIO_BLK_F_SEG_MAX);
const GEOMETRY: Features = feature(abi::VIRTIO_BLK_F_GEOMETRY);
const RO: Features = feature(abi::VIRTIO_BLK_F_RO);
const BLK_SIZE: Features = feature(abi::VIRTIO_BLK_F_BLK_SIZE);
const FLUSH: Features = feature(abi::VIRTIO_BLK_F_FLUSH);
const TOPOLOGY: Features = feature(abi::VIRTIO_BLK_F_TOPOLOGY);
const CONFIG_WCE: Features = feature(abi::VIRTIO_BLK_F_CONFIG_WCE);
const MQ: Features = feature(abi::VIRTIO_BLK_F_MQ);
const DISCARD: Features = feature(abi::VIRTIO_BLK_F_DISCARD);
const WRITE_ZEROES: Features = feature(abi::VIRTIO_BLK_F_WRITE_ZEROES);
const SECURE_ERASE: Features = feature(abi::VIRTIO_BLK_F_SECURE_ERASE);
/// VIRTIO_BLK_F_LIFETIME, which virtio-bindings does not name.
const LIFETIME: Features = feature(15);
const ZONED: Features = feature(abi::VIRTIO_BLK_F_ZONED);

const fn feature(bit: u32) -> Features {
    Features::bit(bit as u8)
}

/// The bits of section 5.2.3 need none of one another. Zones are not for legacy drivers.
const DEPENDENCIES: &[Dependency] = &[Dependency::new(ZONED, Features::VERSION_1)];
const KIND: &str = "virtio-blk";
const VERSION: u32 = 1;
