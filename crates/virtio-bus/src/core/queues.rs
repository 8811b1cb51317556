//! Queue registers, and what becomes of a running device when they change.

use virtio_device::{AddressSpace, DeviceHost, Error, Features, Result, Ring, RingArea};

use super::{Core, Phase, RunningJob};
use crate::{Job, QueueRegs, Status};

impl<AS: AddressSpace> Core<AS> {
    /// Number of queues.
    pub fn queue_count(&self) -> u16 {
        self.queues.len() as u16
    }

    /// Registers of queue `queue`; `None` past the last.
    pub fn queue(&mut self, queue: u16) -> Option<&QueueRegs> {
        self.finish_queue_reset(queue);
        self.queues.get(usize::from(queue))
    }

    /// The driver wrote a queue's size. One that its ring cannot have reads back as 0 (section
    /// 4.1.4.3.1), with which no queue starts.
    pub fn set_queue_size(&mut self, queue: u16, size: u16) {
        let any = self.driver_features.contains(Features::RING_PACKED);
        if let Some(regs) = self.writable(queue) {
            let possible = any || size.is_power_of_two();
            regs.size = if possible { size } else { 0 };
        }
    }

    /// The driver wrote the bits of `mask` of a queue's address register.
    pub fn set_queue_address(&mut self, queue: u16, area: RingArea, value: u64, mask: u64) {
        if let Some(regs) = self.writable(queue) {
            let address = regs.address_mut(area);
            *address = *address & !mask | value & mask;
        }
    }

    /// The driver enabled a queue. A queue that has been reset while the device runs joins it
    /// again, for which its worker is stopped: that waits for what queues that share it have in
    /// flight.
    pub fn enable_queue(&mut self, queue: u16) {
        let Some(regs) = self.writable(queue) else {
            return;
        };
        regs.enabled = true;
        let works = self.phase == Phase::Running && !self.host.is_broken();
        if works && self.restart_queue(queue).is_err() {
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
    /// the queue's requests are drained. Meanwhile the queues that share its worker stand still;
    /// reading the register puts them back to work as soon as that is over.
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

    /// Registers of a queue that may still be written: not enabled, and the driver not ready,
    /// unless it resets queues one by one.
    pub(super) fn writable(&mut self, queue: u16) -> Option<&mut QueueRegs> {
        let late = self.is_driver_ok();
        let one_by_one = self.driver_features.contains(Features::RING_RESET);
        let settled = self.phase != Phase::Resetting && self.phase != Phase::Paused;
        let regs = self.queues.get_mut(usize::from(queue))?;
        (settled && !regs.enabled && !regs.resetting && (!late || one_by_one)).then_some(regs)
    }

    /// Resets the registers of a queue, at once where no worker has it.
    pub(super) fn stop_queue(&mut self, queue: u16) {
        let running = self.phase == Phase::Running;
        let Some(regs) = self.queues.get_mut(usize::from(queue)) else {
            return;
        };
        if !regs.enabled || !running {
            *regs = QueueRegs::new(regs.max_size);
            if let Some(parked) = self.parked.get_mut(usize::from(queue)) {
                *parked = None;
            }
            return;
        }
        regs.resetting = true;
        self.host.set_reset(queue, true);
        if let Some(job) = self.owner(queue).and_then(|at| self.jobs.get(at)) {
            job.running.stop();
        }
    }

    /// Completes the reset of a queue if its job has stopped meanwhile. A reset of the device takes
    /// care of all queues: no job is started again for one of them.
    pub(super) fn finish_queue_reset(&mut self, queue: u16) {
        if self.phase == Phase::Resetting {
            return;
        }
        let owner = self.owner(queue).and_then(|at| self.jobs.get(at));
        if owner.is_none_or(|job| job.running.is_stopped()) {
            self.complete_queue_reset(queue);
        }
    }

    pub(super) fn complete_queue_reset(&mut self, queue: u16) {
        let resetting = self
            .queues
            .get(usize::from(queue))
            .is_some_and(|regs| regs.resetting);
        if !resetting {
            return;
        }
        if self.owner(queue).is_some() && self.change_job(queue, |_| ()).is_err() {
            self.host.needs_reset();
        }
        // A queue without a worker, or whose worker died, has nothing to wait for.
        if let Some(regs) = self.queues.get_mut(usize::from(queue)) {
            *regs = QueueRegs::new(regs.max_size);
        }
    }

    /// Puts a queue that was reset, and enabled again, back to work.
    pub(super) fn restart_queue(&mut self, queue: u16) -> Result<()> {
        let regs = self
            .queues
            .get(usize::from(queue))
            .ok_or(Error::Misuse("no such queue"))?;
        let order = self.byte_order(self.driver_features);
        let ring = Ring::new(regs.ring_config(self.driver_features, order)?)?;
        let kick = self.kick_fd(queue).ok_or(Error::Misuse("no such queue"))?;
        if self.owner(queue).is_none() {
            self.relaunch_with(queue, ring);
            return Ok(());
        }
        self.change_job(queue, |job| job.add_ring(queue, ring, kick))
    }

    /// Has the device place a queue that no worker was given, as it was off at the start.
    fn relaunch_with(&mut self, queue: u16, ring: Ring) {
        (0..self.queue_count()).for_each(|queue| self.complete_queue_reset(queue));
        self.bus.release_kicks(&self.kicks);
        let mut rings = self.collect_jobs();
        if let Some(slot) = rings.get_mut(usize::from(queue)) {
            *slot = Some(ring);
        }
        self.launch(Ok(rings));
    }

    /// The job that a queue was placed with.
    fn owner(&self, queue: u16) -> Option<usize> {
        let mut jobs = self.jobs.iter();
        jobs.position(|job| job.queues.contains(&queue))
    }

    /// Stops the job that owns `queue`, takes those queues away whose reset waited for that, lets
    /// `change` edit it and starts it again.
    pub(super) fn change_job(
        &mut self,
        queue: u16,
        change: impl FnOnce(&mut Job<AS>),
    ) -> Result<()> {
        let owner = self.owner(queue);
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
