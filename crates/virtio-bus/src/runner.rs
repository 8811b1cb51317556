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
    /// Where the host is out of resources; the job is lost and the device needs a reset.
    fn start(&self, job: Job<AS>) -> io::Result<Box<dyn Running<AS>>>;
}

/// A job that runs somewhere.
pub trait Running<AS: AddressSpace>: Send {
    /// Asks it to drain what is in flight and to stop. Returns at once.
    fn stop(&self);

    /// Whether it has stopped, so that [`join`](Self::join) will not block.
    fn is_stopped(&self) -> bool;

    /// Waits until it has stopped and hands back the quiesced job; `None` if it died.
    fn join(self: Box<Self>) -> Option<Job<AS>>;
}
