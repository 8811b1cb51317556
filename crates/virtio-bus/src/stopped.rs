//! The end of a job, for those who wait for it and those who want to be told.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use virtio_device::AddressSpace;

use crate::Job;

/// Where whoever runs a job leaves it when it has stopped: most of a
/// [`Running`](crate::Running) for runners on other threads.
pub struct Stopped<AS: AddressSpace> {
    state: Mutex<State<AS>>,
    ended: Condvar,
}

struct State<AS: AddressSpace> {
    /// `None` before the end, and if the job died.
    job: Option<Job<AS>>,
    ended: bool,
    listeners: Vec<Box<dyn FnOnce() + Send>>,
}

impl<AS: AddressSpace> Stopped<AS> {
    /// A job that has not stopped yet.
    pub fn new() -> Self {
        Self {
            state: Mutex::new(State {
                job: None,
                ended: false,
                listeners: Vec::new(),
            }),
            ended: Condvar::new(),
        }
    }

    /// The job has stopped and is drained; `None` if it died. Only the first call counts.
    pub fn tell(&self, job: Option<Job<AS>>) {
        let mut state = self.lock();
        if state.ended {
            return;
        }
        state.ended = true;
        state.job = job;
        let listeners = std::mem::take(&mut state.listeners);
        drop(state);
        self.ended.notify_all();
        listeners.into_iter().for_each(|listener| listener());
    }

    /// See [`Running::is_stopped`](crate::Running::is_stopped).
    pub fn has_ended(&self) -> bool {
        self.lock().ended
    }

    /// See [`Running::when_stopped`](crate::Running::when_stopped).
    pub fn when_ended(&self, listener: Box<dyn FnOnce() + Send>) {
        let mut state = self.lock();
        if state.ended {
            drop(state);
            listener();
        } else {
            state.listeners.push(listener);
        }
    }

    /// Waits for the end and takes the job.
    pub fn wait(&self) -> Option<Job<AS>> {
        let running = |state: &mut State<AS>| !state.ended;
        let ended = self.ended.wait_while(self.lock(), running);
        ended.unwrap_or_else(PoisonError::into_inner).job.take()
    }

    fn lock(&self) -> MutexGuard<'_, State<AS>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells that a job died, unless it has been told how it ended.
pub(crate) struct End<AS: AddressSpace>(pub(crate) Arc<Stopped<AS>>);

impl<AS: AddressSpace> Drop for End<AS> {
    fn drop(&mut self) {
        self.0.tell(None);
    }
}

impl<AS: AddressSpace> Default for Stopped<AS> {
    fn default() -> Self {
        Self::new()
    }
}
