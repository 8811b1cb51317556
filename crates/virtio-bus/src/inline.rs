//! Jobs run by hand, on the caller's thread.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use virtio_device::AddressSpace;

use crate::reactor::{JobLoop, Turn};
use crate::{Job, NotStarted, Runner, Running};

/// Runs jobs when told to, deterministically: for tests, fuzzing and single-threaded servers.
///
/// Clones run the same jobs.
#[derive(Clone)]
pub struct InlineRunner<AS: AddressSpace> {
    jobs: Arc<Mutex<Vec<Slot<AS>>>>,
}

/// A job that is in none of them any more has been joined.
type Slot<AS> = Arc<Mutex<Option<JobLoop<AS>>>>;

impl<AS: AddressSpace> InlineRunner<AS> {
    /// A runner without jobs.
    pub fn new() -> Self {
        Self {
            jobs: Arc::default(),
        }
    }

    /// Lets every job serve all that is ready, in order, until none has anything to do or
    /// `MAX_ROUNDS` (1000) rounds have passed. True if anything was done.
    pub fn run(&self) -> bool {
        let mut worked = false;
        for _ in 0..MAX_ROUNDS {
            if !self.round() {
                return worked;
            }
            worked = true;
        }
        worked
    }

    fn round(&self) -> bool {
        // The list may change while a job runs, so it is not locked meanwhile.
        let jobs = lock(&self.jobs).clone();
        // Every job has its turn, whatever those before it did.
        jobs.iter()
            .filter(|job| lock(job).as_mut().is_some_and(turn))
            .count()
            > 0
    }
}

impl<AS: AddressSpace> Default for InlineRunner<AS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<AS: AddressSpace> Runner<AS> for InlineRunner<AS> {
    fn start(&self, job: Job<AS>) -> Result<Box<dyn Running<AS>>, NotStarted<AS>> {
        let slot: Slot<AS> = Arc::new(Mutex::new(Some(JobLoop::new(job)?)));
        let mut jobs = lock(&self.jobs);
        jobs.retain(|job| lock(job).is_some());
        jobs.push(slot.clone());
        Ok(Box::new(RunningInline(slot)))
    }
}

struct RunningInline<AS: AddressSpace>(Slot<AS>);

impl<AS: AddressSpace> Running<AS> for RunningInline<AS> {
    fn stop(&self) {}

    fn is_stopped(&self) -> bool {
        true
    }

    fn when_stopped(&self, then: Box<dyn FnOnce() + Send>) {
        then();
    }

    fn join(self: Box<Self>) -> Option<Job<AS>> {
        lock(&self.0).take().map(JobLoop::drain)
    }
}

fn turn<AS: AddressSpace>(job: &mut JobLoop<AS>) -> bool {
    let worked = job.turn(0) == Turn::Worked;
    let pending = job.job.is_pending() || job.job.arm();
    job.go_on();
    worked || pending
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const MAX_ROUNDS: usize = 1000;
