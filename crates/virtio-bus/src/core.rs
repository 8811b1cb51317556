//! The device core: status, features, queues and the life of the workers, for every transport.

use std::io;
use std::sync::Arc;

use virtio_device::{
    Activation, AddressSpace, ConfigCell, Dependency, DeviceHost, DeviceId, DynDevice, Error,
    Features, Info, Interrupt, IrqSource, Placed, Result, Ring, Worker,
};

use crate::host::Host;
use crate::{
    CoreState, Job, Kicks, QueueAddress, QueueRegs, QueueState, Runner, Running, Status, VirtioBus,
};

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
        let offered = bus.features(features | info.features);
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
            host: Arc::new(Host::new(interrupt.clone())),
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

    /// Whether a reset is still waiting for workers.
    pub fn is_resetting(&mut self) -> bool {
        self.status();
        self.phase == Phase::Resetting
    }

    /// Waits until a reset that was begun is complete: for transports whose drivers do not poll.
    pub fn wait_reset(&mut self) {
        if self.phase == Phase::Resetting {
            self.finish_reset();
        }
    }

    /// Number of queues.
    pub fn queue_count(&self) -> u16 {
        self.queues.len() as u16
    }

    /// Registers of queue `queue`; `None` past the last.
    pub fn queue(&mut self, queue: u16) -> Option<&QueueRegs> {
        self.finish_queue_reset(queue);
        self.queues.get(usize::from(queue))
    }

    /// The driver wrote a queue's size.
    pub fn set_queue_size(&mut self, queue: u16, size: u16) {
        if let Some(regs) = self.writable(queue) {
            regs.size = size;
        }
    }

    /// The driver wrote the bits of `mask` of a queue's address register.
    pub fn set_queue_address(&mut self, queue: u16, which: QueueAddress, value: u64, mask: u64) {
        if let Some(regs) = self.writable(queue) {
            let address = regs.address_mut(which);
            *address = *address & !mask | value & mask;
        }
    }

    /// The driver enabled a queue. A queue that has been reset while the device runs joins it
    /// again.
    pub fn enable_queue(&mut self, queue: u16) {
        let Some(regs) = self.writable(queue) else {
            return;
        };
        regs.enabled = true;
        if self.phase == Phase::Running && self.restart_queue(queue).is_err() {
            self.host.needs_reset();
        }
    }

    /// A legacy driver gave a queue its address, 0 to take it away: the areas follow one another
    /// as section 2.7.2 (legacy interfaces) lays them out, `align` bytes the used ring's alignment.
    pub fn set_legacy_queue(&mut self, queue: u16, address: u64, align: u32) {
        if self.is_driver_ok() {
            return;
        }
        let Some(regs) = self.queues.get_mut(usize::from(queue)) else {
            return;
        };
        let size = u64::from(regs.size);
        let align = u64::from(align.max(1));
        let driver = address.saturating_add(16 * size);
        let end = driver.saturating_add(6 + 2 * size);
        regs.descriptor = address;
        regs.driver = driver;
        regs.device = end.div_ceil(align).saturating_mul(align);
        regs.enabled = address != 0;
    }

    /// The driver reset one queue (VIRTIO_F_RING_RESET). Its `resetting` register stays set until
    /// the queue's requests are drained.
    pub fn reset_queue(&mut self, queue: u16) {
        let negotiated = self.driver_features.contains(Features::RING_RESET);
        if negotiated && self.status.contains(Status::FEATURES_OK) {
            self.stop_queue(queue);
            self.finish_queue_reset(queue);
        }
    }

    /// The driver stopped using one queue in the way of transports that have no queue reset
    /// (QueueReady, QueuePFN). Waits until the queue's requests are drained.
    pub fn disable_queue(&mut self, queue: u16) {
        self.stop_queue(queue);
        self.complete_queue_reset(queue);
    }

    /// Stops the workers and keeps rings and state: for a pause, a snapshot or a migration.
    /// Waits until what is in flight is drained.
    pub fn pause(&mut self) {
        self.wait_reset();
        if self.phase == Phase::Running {
            (0..self.queue_count()).for_each(|queue| self.complete_queue_reset(queue));
            self.stop_kicks();
            self.parked = self.collect_jobs();
            self.phase = Phase::Paused;
        }
    }

    /// Goes on after a [`pause`](Self::pause) or [`restore`](Self::restore). Every queue is looked
    /// at once and every interrupt raised, so that none got lost meanwhile.
    pub fn resume(&mut self) {
        if self.phase != Phase::Paused {
            return;
        }
        let rings = std::mem::take(&mut self.parked);
        let running = rings
            .iter()
            .zip(0..)
            .filter_map(|(ring, queue)| ring.as_ref().map(|_| queue));
        let sources = running
            .map(IrqSource::Queue)
            .chain([IrqSource::Config])
            .collect::<Vec<_>>();
        self.launch(rings);
        for source in sources {
            let _ = self.interrupt.trigger(source);
        }
    }

    /// State of a device that is paused or not running.
    ///
    /// # Errors
    /// [`Error::Misuse`] where it runs; what the device says where it cannot be saved.
    pub fn save(&self) -> Result<CoreState> {
        if matches!(self.phase, Phase::Running | Phase::Resetting) {
            return Err(Error::Misuse("a device is paused before it is saved"));
        }
        let position = |queue| {
            self.parked
                .get(queue)
                .and_then(Option::as_ref)
                .map(Ring::position)
        };
        let save = |(index, regs): (usize, &QueueRegs)| QueueState {
            size: regs.size,
            descriptor: regs.descriptor,
            driver: regs.driver,
            device: regs.device,
            enabled: regs.enabled,
            position: position(index),
        };
        Ok(CoreState {
            version: CoreState::VERSION,
            status: self.status
                | if self.host.is_broken() {
                    Status::DEVICE_NEEDS_RESET
                } else {
                    Status::RESET
                },
            driver_features: self.driver_features,
            queues: self.queues.iter().enumerate().map(save).collect(),
            device: self.device.save()?,
        })
    }

    /// Takes over a saved state, into a device in its reset state; then [`resume`](Self::resume).
    ///
    /// # Errors
    /// [`Error::State`] where it does not fit this device, which is then as it was, in its reset
    /// state.
    pub fn restore(&mut self, state: &CoreState) -> Result<()> {
        if self.phase != Phase::Off || self.status != Status::RESET {
            return Err(Error::Misuse("a state is restored into a fresh device"));
        }
        let rings = self.check_state(state)?;
        self.device.restore(&state.device)?;
        for (regs, saved) in self.queues.iter_mut().zip(&state.queues) {
            let QueueState {
                size,
                descriptor,
                driver,
                device,
                enabled,
                position: _,
            } = *saved;
            *regs = QueueRegs {
                size,
                descriptor,
                driver,
                device,
                enabled,
                ..regs.clone()
            };
        }
        self.status = state.status.without(Status::DEVICE_NEEDS_RESET);
        self.driver_features = state.driver_features;
        if self.is_driver_ok() {
            self.parked = rings;
            self.phase = Phase::Paused;
        }
        if state.status.contains(Status::DEVICE_NEEDS_RESET) {
            self.host.needs_reset();
        }
        Ok(())
    }

    /// The rings that a saved state describes, if it could have come from a device like this.
    fn check_state(&self, state: &CoreState) -> Result<Vec<Option<Ring>>> {
        if state.version != CoreState::VERSION {
            return Err(Error::State("unknown version"));
        }
        if state.queues.len() != self.queues.len() {
            return Err(Error::State("another number of queues"));
        }
        let settled = Status::FEATURES_OK | Status::DRIVER_OK;
        if state.status.0 & settled.0 != 0 && !self.can_accept(state.driver_features) {
            return Err(Error::State("features that this device does not offer"));
        }
        let ring = |(regs, saved): (&QueueRegs, &QueueState)| {
            let QueueState {
                size,
                descriptor,
                driver,
                device,
                enabled,
                ..
            } = *saved;
            let regs = QueueRegs {
                size,
                descriptor,
                driver,
                device,
                enabled,
                ..regs.clone()
            };
            let Some(position) = saved.position.filter(|_| enabled) else {
                return Ok(None);
            };
            let config = regs.ring_config(state.driver_features);
            let ring = config.and_then(|config| Ring::at(config, position));
            ring.map(Some)
                .map_err(|_| Error::State("a queue that cannot be"))
        };
        self.queues.iter().zip(&state.queues).map(ring).collect()
    }

    fn is_driver_ok(&self) -> bool {
        self.status.contains(Status::DRIVER_OK)
    }

    /// Whether these features can be settled on (section 2.2.2).
    fn can_accept(&self, features: Features) -> bool {
        self.offered.contains(features)
            && (features.contains(Features::VERSION_1) || self.bus.legacy())
            && features.broken(Dependency::CORE).is_none()
            && features.broken(self.info.dependencies).is_none()
            && self.device.accept(features)
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
        if !self.bus.legacy() || self.driver_features.contains(Features::VERSION_1) {
            return false;
        }
        self.driver_features = self.driver_features & self.offered;
        self.can_accept(self.driver_features)
            && self.status.contains(Status::ACKNOWLEDGE | Status::DRIVER)
    }

    /// Registers of a queue that may still be written: not enabled, and the driver not ready,
    /// unless it resets queues one by one.
    fn writable(&mut self, queue: u16) -> Option<&mut QueueRegs> {
        let late = self.is_driver_ok();
        let one_by_one = self.driver_features.contains(Features::RING_RESET);
        let settled = self.phase != Phase::Resetting && self.phase != Phase::Paused;
        let regs = self.queues.get_mut(usize::from(queue))?;
        (settled && !regs.enabled && !regs.resetting && (!late || one_by_one)).then_some(regs)
    }

    fn start(&mut self) {
        let features = self.driver_features;
        let ring = |regs: &QueueRegs| {
            let config = regs.enabled.then(|| regs.ring_config(features))?;
            Some(config.and_then(Ring::new))
        };
        let rings = self.queues.iter().map(|regs| ring(regs).transpose());
        match rings.collect::<Result<Vec<_>, _>>() {
            Ok(rings) => {
                self.host.set_driver_ok(true);
                self.launch(rings);
            }
            Err(error) => self.fail_start(&error.into()),
        }
    }

    /// Activates the device with `rings` and starts its jobs.
    fn launch(&mut self, rings: Vec<Option<Ring>>) {
        self.host.set_driver_ok(true);
        self.phase = Phase::Running;
        let queues = rings
            .iter()
            .zip(0..)
            .filter_map(|(ring, queue)| ring.as_ref().map(|_| queue));
        let activation = Activation {
            features: self.driver_features,
            queues: queues.collect(),
            host: self.host.clone(),
        };
        let started = self
            .device
            .activate(activation)
            .and_then(|workers| self.start_jobs(workers, rings).map_err(Error::Backend));
        match started {
            Ok(()) => {
                if let Err(error) = self.bus.assign_kicks(&self.kicks) {
                    log::debug!("{}: no ioeventfd: {error}", self.info.id);
                }
                self.kicks.open();
            }
            Err(error) => self.fail_start(&error),
        }
    }

    fn fail_start(&mut self, error: &Error) {
        log::warn!("{}: cannot start: {error}", self.info.id);
        self.phase = Phase::Running;
        self.host.set_driver_ok(true);
        self.host.needs_reset();
    }

    fn start_jobs(
        &mut self,
        workers: Vec<Placed<Box<dyn Worker<AS>>>>,
        mut rings: Vec<Option<Ring>>,
    ) -> io::Result<()> {
        for Placed { worker, queues } in workers {
            let mut job = Job::new(
                worker,
                self.queues.len(),
                self.memory.clone(),
                self.interrupt.clone(),
                self.host.clone(),
            );
            for &queue in &queues {
                let ring = rings.get_mut(usize::from(queue)).and_then(Option::take);
                if let (Some(ring), Some(kick)) = (ring, self.kick_fd(queue)) {
                    job.add_ring(queue, ring, kick);
                }
            }
            self.start_job(queues, job)?;
        }
        Ok(())
    }

    /// Every queue is kicked, because the driver may have filled it before anybody watched.
    fn start_job(&mut self, queues: Vec<u16>, job: Job<AS>) -> io::Result<()> {
        for &(queue, _) in job.kicks() {
            self.kicks.kick(queue.into());
        }
        let running = self.runner.start(job)?;
        self.jobs.push(RunningJob { queues, running });
        Ok(())
    }

    fn kick_fd(&self, queue: u16) -> Option<Arc<vmm_sys_util::eventfd::EventFd>> {
        self.kicks.fds().get(usize::from(queue)).cloned()
    }

    fn stop_kicks(&mut self) {
        self.bus.release_kicks(&self.kicks);
        self.kicks.close();
    }

    /// Joins every job, hands the workers back to the device and returns the rings.
    fn collect_jobs(&mut self) -> Vec<Option<Ring>> {
        let mut rings: Vec<Option<Ring>> = self.queues.iter().map(|_| None).collect();
        let jobs = std::mem::take(&mut self.jobs);
        jobs.iter().for_each(|job| job.running.stop());
        let mut workers = Vec::new();
        for job in jobs {
            let Some(job) = job.running.join() else {
                self.host.needs_reset();
                continue;
            };
            let (worker, own) = job.into_parts();
            workers.push(worker);
            for (slot, ring) in rings.iter_mut().zip(own) {
                *slot = slot.take().or(ring);
            }
        }
        self.device.deactivate(workers);
        rings
    }

    fn begin_reset(&mut self) {
        if self.phase == Phase::Resetting {
            return;
        }
        if self.phase == Phase::Running {
            self.stop_kicks();
        }
        self.host.set_driver_ok(false);
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

    /// Resets the registers of a queue, at once where no worker has it.
    fn stop_queue(&mut self, queue: u16) {
        let running = self.phase == Phase::Running;
        let Some(regs) = self.queues.get_mut(usize::from(queue)) else {
            return;
        };
        if !regs.enabled || !running {
            *regs = QueueRegs::new(regs.max_size);
            return;
        }
        regs.resetting = true;
        if let Some(job) = self.jobs.iter().find(|job| job.queues.contains(&queue)) {
            job.running.stop();
        }
    }

    /// Completes the reset of a queue if its job has stopped meanwhile.
    fn finish_queue_reset(&mut self, queue: u16) {
        let owner = self.jobs.iter().find(|job| job.queues.contains(&queue));
        if owner.is_none_or(|job| job.running.is_stopped()) {
            self.complete_queue_reset(queue);
        }
    }

    fn complete_queue_reset(&mut self, queue: u16) {
        let resetting = self
            .queues
            .get(usize::from(queue))
            .is_some_and(|regs| regs.resetting);
        if !resetting {
            return;
        }
        let served = self.jobs.iter().any(|job| job.queues.contains(&queue));
        if served && self.change_job(queue, |_| ()).is_err() {
            self.host.needs_reset();
        }
        // A queue without a worker, or whose worker died, has nothing to wait for.
        if let Some(regs) = self.queues.get_mut(usize::from(queue)) {
            *regs = QueueRegs::new(regs.max_size);
        }
    }

    /// Puts a queue that was reset, and enabled again, back to work.
    fn restart_queue(&mut self, queue: u16) -> Result<()> {
        let regs = self
            .queues
            .get(usize::from(queue))
            .ok_or(Error::Misuse("no such queue"))?;
        let ring = Ring::new(regs.ring_config(self.driver_features)?)?;
        let kick = self.kick_fd(queue).ok_or(Error::Misuse("no such queue"))?;
        self.change_job(queue, |job| job.add_ring(queue, ring, kick))
    }

    /// Stops the job that owns `queue`, takes those queues away whose reset waited for that, lets
    /// `change` edit it and starts it again.
    fn change_job(&mut self, queue: u16, change: impl FnOnce(&mut Job<AS>)) -> Result<()> {
        let owner = self.jobs.iter().position(|job| job.queues.contains(&queue));
        let owner = owner.ok_or(Error::Misuse("a queue without a worker"))?;
        let RunningJob { queues, running } = self.jobs.remove(owner);
        running.stop();
        let mut job = running.join().ok_or(Error::Misuse("a worker died"))?;
        for (regs, queue) in self.queues.iter_mut().zip(0..) {
            if regs.resetting && queues.contains(&queue) {
                *regs = QueueRegs::new(regs.max_size);
                drop(job.take_ring(queue));
            }
        }
        change(&mut job);
        Ok(self.start_job(queues, job)?)
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
