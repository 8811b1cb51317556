//! What the device, its workers and the VMM share.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::{EventfdFlags, eventfd};
use virtio_device::{Interest, Source};

use crate::config_space::{DEFAULT_CDB, DEFAULT_SENSE};
use crate::event::Events;
use crate::roster::Roster;
use crate::tasks::Scope;

/// One for each device.
pub(crate) struct Office<B> {
    pub(crate) roster: Roster<B>,
    pub(crate) sense_size: AtomicU32,
    pub(crate) cdb_size: AtomicU32,
    pub(crate) events: Mutex<Events>,
    /// Of the worker of control and event queue.
    pub(crate) control: Arc<Bell>,
    /// Of the workers of the request queues.
    pub(crate) inboxes: Vec<Inbox>,
}

/// Wakes a worker.
#[derive(Debug)]
pub(crate) struct Bell(OwnedFd);

/// Orders for the worker of a request queue.
pub(crate) struct Inbox {
    pub(crate) bell: Bell,
    orders: Mutex<Vec<Order>>,
}

/// A task management function, as a request queue's worker has its part in it.
#[derive(Clone)]
pub(crate) struct Order {
    /// The tasks that it concerns.
    pub(crate) scope: Scope,
    /// How they end, unless they are only looked for.
    pub(crate) fate: Option<Fate>,
    /// Held until they have ended.
    pub(crate) ticket: Arc<Ticket>,
}

/// What ends a task early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Aborted,
    Reset,
}

/// Wakes the control queue's worker when the last copy of it is dropped: whatever becomes of the
/// workers that hold one, the function ends.
#[derive(Debug)]
pub(crate) struct Ticket {
    bell: Arc<Bell>,
    found: Arc<AtomicBool>,
}

impl<B> Office<B> {
    pub(crate) fn new(queues: u16) -> io::Result<Self> {
        let inboxes = (0..queues)
            .map(|_| Inbox::new())
            .collect::<Result<_, _>>()?;
        Ok(Self {
            roster: Roster::new(),
            sense_size: AtomicU32::new(DEFAULT_SENSE),
            cdb_size: AtomicU32::new(DEFAULT_CDB),
            events: Mutex::default(),
            control: Arc::new(Bell::new()?),
            inboxes,
        })
    }

    /// Everybody looks at what has changed.
    pub(crate) fn wake_all(&self) {
        self.control.ring();
        self.inboxes.iter().for_each(|inbox| inbox.bell.ring());
    }

    pub(crate) fn events(&self) -> MutexGuard<'_, Events> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The sizes of sense data and command descriptor blocks, as the driver has set them.
    pub(crate) fn sizes(&self) -> (u32, u32) {
        let sense = self.sense_size.load(Ordering::Relaxed);
        (sense, self.cdb_size.load(Ordering::Relaxed))
    }
}

impl Bell {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(eventfd(
            0,
            EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC,
        )?))
    }

    pub(crate) fn ring(&self) {
        // A counter that is full has woken the worker already.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// To be called before looking at what it rang for.
    pub(crate) fn hush(&self) {
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }

    /// What a worker watches, under this token.
    pub(crate) fn source(&self, token: u16) -> Source<'_> {
        Source {
            token,
            fd: self.0.as_fd(),
            interest: Interest::Read,
        }
    }
}

impl Inbox {
    fn new() -> io::Result<Self> {
        Ok(Self {
            bell: Bell::new()?,
            orders: Mutex::default(),
        })
    }

    pub(crate) fn put(&self, order: Order) {
        self.lock().push(order);
        self.bell.ring();
    }

    /// Takes everything out.
    pub(crate) fn take(&self) -> Vec<Order> {
        self.bell.hush();
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Order>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    pub(crate) fn new(bell: Arc<Bell>, found: Arc<AtomicBool>) -> Self {
        Self { bell, found }
    }

    /// There was a task that the function concerns.
    pub(crate) fn find(&self) {
        self.found.store(true, Ordering::Release);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.bell.ring();
    }
}
