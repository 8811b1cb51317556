//! Available buffer notifications (section 2.3) on their way from a transport to the workers.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// One event descriptor per queue. Shared between the core, the transport's notify registers,
/// which use it without any lock, and the jobs.
#[derive(Debug)]
pub struct Kicks {
    fds: Box<[Arc<EventFd>]>,
    /// Whether the driver may notify: from DRIVER_OK until reset.
    open: AtomicBool,
}

impl Kicks {
    /// Descriptors for `queues` queues.
    ///
    /// # Errors
    /// Where the host has no descriptors left.
    pub(crate) fn new(queues: usize) -> io::Result<Self> {
        let fds = (0..queues).map(|_| EventFd::new(EFD_NONBLOCK).map(Arc::new));
        Ok(Self {
            fds: fds.collect::<io::Result<_>>()?,
            open: AtomicBool::new(false),
        })
    }

    /// The driver notified queue `queue`. Without effect before DRIVER_OK and past the last queue.
    pub fn notify(&self, queue: u32) {
        if self.open.load(Ordering::Acquire) {
            self.kick(queue);
        }
    }

    /// The descriptor of each queue, by index.
    pub fn fds(&self) -> &[Arc<EventFd>] {
        &self.fds
    }

    pub(crate) fn kick(&self, queue: u32) {
        if let Some(fd) = usize::try_from(queue)
            .ok()
            .and_then(|queue| self.fds.get(queue))
        {
            // A counter that is full is a notification that has not been seen yet.
            let _ = fd.write(1);
        }
    }

    pub(crate) fn open(&self) {
        self.open.store(true, Ordering::Release);
    }

    /// Ends notifications and forgets those that nobody has seen.
    pub(crate) fn close(&self) {
        self.open.store(false, Ordering::Release);
        for fd in &self.fds {
            let _ = fd.read();
        }
    }
}
