//! The device core: status, features, queues and the life of the workers, for every transport.

mod jobs;
mod queues;
mod reset;
mod saved;
mod status;

use std::sync::Arc;

use virtio_device::{
    AddressSpace, ByteOrder, ConfigCell, Dependency, DeviceId, DynDevice, Error, Features, Info,
    Interrupt, Result, Ring,
};

use crate::host::Host;
use crate::{Kicks, QueueRegs, Runner, Running, Status, VirtioBus};

/// What a [`Core`] is made of.
pub struct Parts<AS: AddressSpace> {
    /// The device.
    pub device: Box<dyn DynDevice<AS>>,
    /// Where its workers run.
    pub runner: Arc<dyn Runner<AS>>,
    /// Guest memory as the device sees it.
    pub memory: AS,
    /// The transport.
    pub bus: Arc<dyn VirtioBus>,
    /// Device-independent features to offer; see [`VirtioProps`](crate::VirtioProps).
    pub features: Features,
}

/// The state that a virtio device has whatever its transport, and the only writer of its status.
///
/// A transport keeps it behind a lock of its own and calls it for register accesses; the paths
/// that must not wait for that lock ([`Kicks`], [`ConfigCell`]) are shared handles.
pub struct Core<AS: AddressSpace> {
    device: Box<dyn DynDevice<AS>>,
    info: Info,
    config: Arc<ConfigCell>,
    runner: Arc<dyn Runner<AS>>,
    memory: AS,
    bus: Arc<dyn VirtioBus>,
    interrupt: Arc<dyn Interrupt>,
    kicks: Arc<Kicks>,
    host: Arc<Host>,
    offered: Features,
    status: Status,
    driver_features: Features,
    queues: Vec<QueueRegs>,
    phase: Phase,
    jobs: Vec<RunningJob<AS>>,
    /// Rings that no job has: while the device is paused.
    parked: Vec<Option<Ring>>,
}

struct RunningJob<AS: AddressSpace> {
    /// All queues placed with the worker, enabled or not.
    queues: Vec<u16>,
    running: Box<dyn Running<AS>>,
}

/// What the workers are doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// There are none: the driver is not ready.
    Off,
    /// They run.
    Running,
    /// They were told to stop for a reset.
    Resetting,
    /// They were handed back; the rings are parked.
    Paused,
}

impl<AS: AddressSpace> Core<AS> {
    /// A device in its reset state.
    ///
    /// # Errors
    /// [`Error::Misuse`] where the device offers a feature without what it depends on, and
    /// [`Error::Backend`] where the host has no descriptors left.
    pub fn new(parts: Parts<AS>) -> Result<Self> {
        let Parts {
            device,
            runner,
            memory,
            bus,
            features,
        } = parts;
        let (info, config) = (device.info(), device.config());
        let offered = bus.features(features | info.features) - NOT_SERVED;
        if (features - offered).contains(Features::ACCESS_PLATFORM) {
            return Err(Error::Misuse(
                "ACCESS_PLATFORM is not for transports of legacy drivers alone",
            ));
        }
        if offered
            .broken(Dependency::CORE)
            .or(offered.broken(info.dependencies))
            .is_some()
        {
            return Err(Error::Misuse(
                "a feature is offered without one that it requires",
            ));
        }
        let interrupt = bus.interrupt();
        Ok(Self {
            kicks: Arc::new(Kicks::new(info.queue_sizes.len())?),
            host: Arc::new(Host::new(&info, interrupt.clone())),
            queues: info
                .queue_sizes
                .iter()
                .map(|&size| QueueRegs::new(size))
                .collect(),
            status: Status::RESET,
            driver_features: Features::NONE,
            phase: Phase::Off,
            jobs: Vec::new(),
            parked: Vec::new(),
            device,
            info,
            config,
            runner,
            memory,
            bus,
            interrupt,
            offered,
        })
    }

    /// Virtio device ID.
    pub fn id(&self) -> DeviceId {
        self.info.id
    }

    /// Handles for the transport's lock-free notify registers.
    pub fn kicks(&self) -> &Arc<Kicks> {
        &self.kicks
    }

    /// The configuration space, for the transport's lock-free reads.
    pub fn config(&self) -> &Arc<ConfigCell> {
        &self.config
    }

    /// The driver wrote to the configuration space at byte `offset`.
    pub fn write_config(&mut self, offset: u64, data: &[u8]) {
        self.device.write_config(offset, data);
    }

    /// Features that the device offers.
    pub fn offered(&self) -> Features {
        self.offered
    }

    /// Features that the driver has written so far.
    pub fn driver_features(&self) -> Features {
        self.driver_features
    }

    /// The driver wrote 32 feature bits, from bit `32 * select` on. Ignored once they are settled.
    pub fn write_driver_features(&mut self, select: u32, value: u32) {
        if !self.status.contains(Status::FEATURES_OK) && !self.is_driver_ok() {
            self.driver_features = self.driver_features.with_page(select, value);
        }
    }

    /// The status register. While a reset waits for workers, it is what it was before; reading it
    /// completes the reset as soon as that is possible without waiting.
    pub fn status(&mut self) -> Status {
        if self.phase == Phase::Resetting && self.jobs.iter().all(|job| job.running.is_stopped()) {
            self.finish_reset();
        }
        let needs_reset = match self.host.is_broken() {
            true => Status::DEVICE_NEEDS_RESET,
            false => Status::RESET,
        };
        self.status | needs_reset
    }

    /// The driver wrote the status register: 0 resets, other bits are added. A bit that the device
    /// does not agree to stays clear: FEATURES_OK with features that it cannot accept, DRIVER_OK
    /// before that.
    pub fn write_status(&mut self, value: Status) {
        if value == Status::RESET {
            self.begin_reset();
            return;
        }
        if self.phase == Phase::Resetting {
            return;
        }
        let known = Status::ACKNOWLEDGE | Status::DRIVER | Status::FAILED;
        let added = value.without(self.status);
        self.status |= Status(value.0 & known.0);
        if added.contains(Status::FEATURES_OK) && self.accepts_features() {
            self.status |= Status::FEATURES_OK;
        }
        if added.contains(Status::DRIVER_OK) && self.may_start() {
            self.status |= Status::DRIVER_OK;
            self.start();
        }
    }

    fn is_driver_ok(&self) -> bool {
        self.status.contains(Status::DRIVER_OK)
    }

    /// Whether these features can be settled on (section 2.2.2).
    fn can_accept(&self, features: Features) -> bool {
        self.offered.contains(features)
            && (features.contains(Features::VERSION_1) || self.bus.legacy().is_some())
            && features.broken(Dependency::CORE).is_none()
            && features.broken(self.info.dependencies).is_none()
            && (features.contains(Features::ACCESS_PLATFORM) || !self.translates())
            && self.device.accept(features)
    }

    /// Whether a driver that gives physical addresses (section 6.1) would not be understood.
    fn translates(&self) -> bool {
        self.offered.contains(Features::ACCESS_PLATFORM)
    }

    /// The byte order of a driver that has negotiated `features`.
    fn byte_order(&self, features: Features) -> ByteOrder {
        match features.contains(Features::VERSION_1) {
            true => ByteOrder::Little,
            false => self.bus.legacy().unwrap_or_default(),
        }
    }

    fn accepts_features(&self) -> bool {
        self.status.contains(Status::ACKNOWLEDGE | Status::DRIVER)
            && self.can_accept(self.driver_features)
    }

    /// Whether DRIVER_OK is in order. A legacy driver does not know FEATURES_OK; it gets what it
    /// asked for of what there is.
    fn may_start(&mut self) -> bool {
        if self.status.contains(Status::FEATURES_OK) {
            return true;
        }
        if self.bus.legacy().is_none() || self.driver_features.contains(Features::VERSION_1) {
            return false;
        }
        self.driver_features = self.driver_features & self.offered;
        self.can_accept(self.driver_features)
            && self.status.contains(Status::ACKNOWLEDGE | Status::DRIVER)
    }

    fn begin_reset(&mut self) {
        if self.phase == Phase::Resetting {
            return;
        }
        if self.phase == Phase::Running {
            self.stop_kicks();
        }
        self.host.set_driver_ok(false);
        (0..self.queue_count()).for_each(|queue| self.host.set_reset(queue, true));
        self.jobs.iter().for_each(|job| job.running.stop());
        self.phase = Phase::Resetting;
        self.status();
    }

    /// Puts back every field. Whoever adds one has to say here what becomes of it.
    fn finish_reset(&mut self) {
        drop(self.collect_jobs());
        self.device.reset();
        let Self {
            device: _,
            info: _,
            config: _,
            runner: _,
            memory: _,
            bus: _,
            interrupt: _,
            kicks,
            host,
            offered: _,
            status,
            driver_features,
            queues,
            phase,
            jobs,
            parked,
        } = self;
        kicks.close();
        host.reset();
        *status = Status::RESET;
        *driver_features = Features::NONE;
        queues
            .iter_mut()
            .for_each(|regs| *regs = QueueRegs::new(regs.max_size));
        *phase = Phase::Off;
        jobs.clear();
        parked.clear();
    }
}

impl<AS: AddressSpace> Drop for Core<AS> {
    /// Drains and stops the workers: in-flight requests are completed, none is dropped.
    fn drop(&mut self) {
        if self.phase == Phase::Running {
            self.stop_kicks();
        }
        drop(self.collect_jobs());
    }
}

/// What would be the core's to do, and is not done.
const NOT_SERVED: Features = Features::SUSPEND;
