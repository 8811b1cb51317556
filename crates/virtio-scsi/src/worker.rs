//! The data plane.

use guest_io::MemoryGuard;
use guest_io::block::Backend;
use virtio_device::{AddressSpace, Cx, Progress, Result, Source, Worker};

use crate::control::ControlWorker;
use crate::requests::RequestWorker;
use crate::tasks::Slot;

/// Serves a queue, or two, of a [`Scsi`](crate::Scsi). `G` keeps guest memory mapped.
pub struct ScsiWorker<B: Backend, G: MemoryGuard + Send + Sync>(pub(crate) Role<B, G>);

/// What a worker serves.
pub(crate) enum Role<B: Backend, G: MemoryGuard + Send + Sync> {
    /// Control queue and event queue.
    Control(ControlWorker<B>),
    /// A request queue.
    Requests(Box<RequestWorker<B, G>>),
}

impl<B: Backend, G: MemoryGuard + Send + Sync> ScsiWorker<B, G> {
    /// Of one that serves a request queue, that and the requests that the next worker begins again.
    pub(crate) fn into_kept(self) -> Option<(u16, Vec<Slot>)> {
        match self.0 {
            Role::Control(_) => None,
            Role::Requests(worker) => Some(worker.into_kept()),
        }
    }
}

impl<B: Backend, AS: AddressSpace> Worker<AS> for ScsiWorker<B, AS::T> {
    fn kick(&mut self, _queue: u16, cx: &mut Cx<'_, AS>) -> Result<Progress> {
        match &mut self.0 {
            Role::Control(worker) => worker.serve(cx),
            Role::Requests(worker) => worker.kick(cx),
        }
    }

    fn event(&mut self, token: u16, cx: &mut Cx<'_, AS>) -> Result<Progress> {
        match &mut self.0 {
            Role::Control(worker) => worker.serve(cx),
            Role::Requests(worker) => worker.event(token, cx),
        }
    }

    fn gathers(&self) -> bool {
        matches!(self.0, Role::Requests(_))
    }

    fn sources(&self, add: &mut dyn FnMut(Source<'_>)) {
        match &self.0 {
            Role::Control(worker) => worker.sources(add),
            Role::Requests(worker) => worker.sources(add),
        }
    }

    fn quiesce(&mut self, cx: &mut Cx<'_, AS>) -> Result<Progress> {
        match &mut self.0 {
            Role::Control(worker) => worker.quiesce(cx),
            Role::Requests(worker) => worker.quiesce(cx),
        }
    }
}
