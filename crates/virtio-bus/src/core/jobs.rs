//! From an accepted DRIVER_OK to running jobs, and back.

use std::io;
use std::sync::Arc;

use virtio_device::{Activation, AddressSpace, DeviceHost, Error, Placed, Result, Ring, Worker};

use super::{Core, Phase, RunningJob};
use crate::{Job, NotStarted, QueueRegs, Running};

impl<AS: AddressSpace> Core<AS> {
    pub(super) fn start(&mut self) {
        let features = self.driver_features;
        let order = self.byte_order(features);
        let ring = |regs: &QueueRegs| {
            let config = regs.enabled.then(|| regs.ring_config(features, order))?;
            Some(config.and_then(Ring::new))
        };
        let rings = self.queues.iter().map(|regs| ring(regs).transpose());
        let rings = rings.collect::<Result<Vec<_>, _>>();
        self.launch(rings.map_err(Error::Queue));
    }

    /// Activates the device with `rings` and starts its jobs. What fails is the driver's to see.
    pub(super) fn launch(&mut self, rings: Result<Vec<Option<Ring>>>) {
        self.host.set_driver_ok(true);
        self.phase = Phase::Running;
        // Before the workers look at their queues, so that no notification falls in between.
        self.kicks.open();
        if let Err(error) = rings.and_then(|rings| self.activate(rings)) {
            self.host.complain(format_args!("cannot start: {error}"));
            self.kicks.close();
            self.host.needs_reset();
        } else if let Err(error) = self.bus.assign_kicks(&self.kicks) {
            log::debug!("{}: no ioeventfd: {error}", self.info.id);
        }
    }

    fn activate(&mut self, rings: Vec<Option<Ring>>) -> Result<()> {
        let queues = rings
            .iter()
            .zip(0..)
            .filter_map(|(ring, queue)| ring.as_ref().map(|_| queue));
        let activation = Activation {
            features: self.driver_features,
            order: self.byte_order(self.driver_features),
            queues: queues.collect(),
            host: self.host.clone(),
        };
        let workers = self.device.activate(activation)?;
        Ok(self.start_jobs(workers, rings)?)
    }

    fn start_jobs(
        &mut self,
        workers: Vec<Placed<Box<dyn Worker<AS>>>>,
        mut rings: Vec<Option<Ring>>,
    ) -> io::Result<()> {
        let mut started = Ok(());
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
            started = started.and(self.start_job(queues, job));
        }
        started
    }

    /// Every queue is kicked, because the driver may have filled it before anybody watched. A job
    /// that cannot be started is kept: its worker goes back to the device with the others.
    pub(super) fn start_job(&mut self, queues: Vec<u16>, job: Job<AS>) -> io::Result<()> {
        for &(queue, _) in job.kicks() {
            self.host.set_reset(queue, false);
            self.kicks.kick(queue.into());
        }
        let (running, started): (Option<Box<dyn Running<AS>>>, _) = match self.runner.start(job) {
            Ok(running) => (Some(running), Ok(())),
            Err(NotStarted { job, error }) => {
                (job.map(|job| Box::new(AtRest(job)) as _), Err(error))
            }
        };
        let running = running.map(|running| RunningJob { queues, running });
        self.jobs.extend(running);
        started
    }

    pub(super) fn kick_fd(&self, queue: u16) -> Option<Arc<vmm_sys_util::eventfd::EventFd>> {
        self.kicks.fds().get(usize::from(queue)).cloned()
    }

    pub(super) fn stop_kicks(&mut self) {
        self.bus.release_kicks(&self.kicks);
        self.kicks.close();
    }

    /// Joins every job, hands the workers back to the device and returns the rings.
    pub(super) fn collect_jobs(&mut self) -> Vec<Option<Ring>> {
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
}

/// A job that runs nowhere: it waits for its way back to the device.
struct AtRest<AS: AddressSpace>(Box<Job<AS>>);

impl<AS: AddressSpace> Running<AS> for AtRest<AS> {
    fn stop(&self) {}

    fn is_stopped(&self) -> bool {
        true
    }

    fn when_stopped(&self, then: Box<dyn FnOnce() + Send>) {
        then();
    }

    fn join(self: Box<Self>) -> Option<Job<AS>> {
        Some(*self.0)
    }
}
