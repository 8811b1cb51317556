//! Pause, resume, and saved state.

use virtio_device::{AddressSpace, DeviceHost, Error, Features, IrqSource, Result, Ring};

use super::{Core, Phase};
use crate::{CoreState, QueueRegs, QueueState, Status};

impl<AS: AddressSpace> Core<AS> {
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
        self.launch(Ok(rings));
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

    /// Whether a driver that chose `features` could have brought the device to `status`.
    fn could_have(&self, status: Status, features: Features) -> bool {
        let known = STEPS | SETTLED | Status::DEVICE_NEEDS_RESET | Status::FAILED;
        let steps = status.contains(STEPS) || !status.intersects(SETTLED);
        let legacy = self.bus.legacy().is_some() && !features.contains(Features::VERSION_1);
        let settled = status.contains(Status::FEATURES_OK) || !status.contains(Status::DRIVER_OK);
        known.contains(status) && steps && (settled || legacy)
    }

    /// The rings that a saved state describes, if it could have come from a device like this.
    fn check_state(&self, state: &CoreState) -> Result<Vec<Option<Ring>>> {
        if state.version != CoreState::VERSION {
            return Err(Error::State("unknown version"));
        }
        if state.queues.len() != self.queues.len() {
            return Err(Error::State("another number of queues"));
        }
        let (status, features) = (state.status, state.driver_features);
        if !self.could_have(status, features) {
            return Err(Error::State("a status that no driver brings about"));
        }
        if status.intersects(SETTLED) && !self.can_accept(features) {
            return Err(Error::State("features that this device does not offer"));
        }
        let order = self.byte_order(state.driver_features);
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
            let config = regs.ring_config(state.driver_features, order);
            let ring = config.and_then(|config| Ring::at(config, position));
            ring.map(Some)
                .map_err(|_| Error::State("a queue that cannot be"))
        };
        self.queues.iter().zip(&state.queues).map(ring).collect()
    }
}

/// What comes before features are settled.
const STEPS: Status = Status(Status::ACKNOWLEDGE.0 | Status::DRIVER.0);
/// The driver chose its features for good.
const SETTLED: Status = Status(Status::FEATURES_OK.0 | Status::DRIVER_OK.0);
