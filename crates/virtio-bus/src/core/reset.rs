//! Three ways to await the end of a reset: ask, wait, or be told.

use std::sync::Arc;

use virtio_device::AddressSpace;

use super::{Core, Phase};

impl<AS: AddressSpace> Core<AS> {
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

    /// Has `then` called on another thread once the reset that is under way needs no more waiting,
    /// so that [`status`](Self::status) completes it: for transports that tell their driver. False,
    /// without a call, where no reset is under way any more.
    pub fn when_reset(&mut self, then: impl FnOnce() + Send + Sync + 'static) -> bool {
        if !self.is_resetting() {
            return false;
        }
        let last = Arc::new(Last(Some(Box::new(then))));
        for job in &self.jobs {
            let one = last.clone();
            job.running.when_stopped(Box::new(move || drop(one)));
        }
        let Some(mut all_stopped) = Arc::into_inner(last) else {
            return true;
        };
        all_stopped.0 = None;
        self.is_resetting()
    }
}

/// Calls what it holds when the last one who shares it lets go.
struct Last(Option<Box<dyn FnOnce() + Send + Sync>>);

impl Drop for Last {
    fn drop(&mut self) {
        if let Some(then) = self.0.take() {
            then();
        }
    }
}
