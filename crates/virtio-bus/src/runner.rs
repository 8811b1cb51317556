//! Where jobs run is the VMM's choice.

use std::io;

use virtio_device::AddressSpace;

use crate::Job;

/// Runs jobs: on threads, on an event loop, by hand.
pub trait Runner<AS: AddressSpace>: Send + Sync {
    /// Starts `job`. Every queue of it has been kicked once, so that nothing that became available
    /// before the start is missed.
    ///
    /// # Errors
    /// Where the host is out of resources. The job comes back: its device needs a reset now, and
    /// can be started anew after that.
    fn start(&self, job: Job<AS>) -> Result<Box<dyn Running<AS>>, NotStarted<AS>>;
}

/// A job that its runner could not start, and why.
pub struct NotStarted<AS: AddressSpace> {
    /// The job, as it was; `None` where it is lost, with what its device gave to the worker.
    pub job: Option<Box<Job<AS>>>,
    /// What the host said.
    pub error: io::Error,
}

impl<AS: AddressSpace> NotStarted<AS> {
    /// `job` was not started because of `error`.
    pub fn new(job: Job<AS>, error: io::Error) -> Self {
        let job = Some(Box::new(job));
        Self { job, error }
    }
}

/// The job is lost.
impl<AS: AddressSpace> From<io::Error> for NotStarted<AS> {
    fn from(error: io::Error) -> Self {
        Self { job: None, error }
    }
}

/// A job that runs somewhere.
pub trait Running<AS: AddressSpace>: Send {
    /// Asks it to drain what is in flight and to stop. Returns at once.
    fn stop(&self);

    /// Whether it has stopped, so that [`join`](Self::join) will not block.
    fn is_stopped(&self) -> bool;

    /// Calls `then` once it has stopped: on the thread that it ran on, holding no lock, or at once
    /// where it has stopped already. `then` may wait for locks under which
    /// [`join`](Self::join) is called.
    fn when_stopped(&self, then: Box<dyn FnOnce() + Send>);

    /// Waits until it has stopped and hands back the quiesced job; `None` if it died.
    fn join(self: Box<Self>) -> Option<Job<AS>>;
}
