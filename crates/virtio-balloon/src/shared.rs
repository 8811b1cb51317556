//! What the device, its worker and the VMM have in common.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use virtio_device::{ConfigCell, DeviceHost};

use crate::hints::Hints;
use crate::layout::{ACTUAL, Field};
use crate::poll::Poll;
use crate::stats::{Report, Stats};

/// Called wherever the driver's accesses are made.
pub(crate) type Listener = Box<dyn Fn() + Send + Sync>;

pub(crate) struct Shared {
    pub(crate) config: Arc<ConfigCell>,
    pub(crate) poll: Poll,
    /// Who wants to know that the driver has changed `actual`.
    listener: Mutex<Option<Listener>>,
    /// Pages that the guest gave up and that are none.
    pub(crate) refused: AtomicU64,
    host: Mutex<Option<Arc<dyn DeviceHost>>>,
    report: Mutex<Report>,
    hints: Mutex<Hints>,
}

impl Shared {
    pub(crate) fn new(config: ConfigCell) -> io::Result<Self> {
        Ok(Self {
            config: Arc::new(config),
            poll: Poll::new()?,
            listener: Mutex::default(),
            refused: AtomicU64::new(0),
            host: Mutex::default(),
            report: Mutex::new(Report {
                stats: Stats::default(),
                at: None,
            }),
            hints: Mutex::default(),
        })
    }

    /// How the driver is told of changes from now on.
    pub(crate) fn connect(&self, host: Option<Arc<dyn DeviceHost>>) {
        *lock(&self.host) = host;
    }

    /// Changes a field of the configuration space and tells the driver.
    pub(crate) fn tell(&self, field: Field, value: u32) {
        if field.store(&self.config, value)
            && let Some(host) = &*lock(&self.host)
        {
            host.config_changed();
        }
    }

    pub(crate) fn actual(&self) -> u32 {
        ACTUAL.load(&self.config)
    }

    /// Has `listener` called from now on.
    pub(crate) fn listen(&self, listener: Listener) {
        *lock(&self.listener) = Some(listener);
    }

    /// `actual` has another value.
    pub(crate) fn announce(&self) {
        if let Some(listener) = &*lock(&self.listener) {
            listener();
        }
    }

    pub(crate) fn refuse(&self, pages: u64) {
        self.refused.fetch_add(pages, Ordering::Relaxed);
    }

    pub(crate) fn report(&self) -> MutexGuard<'_, Report> {
        lock(&self.report)
    }

    pub(crate) fn hints(&self) -> MutexGuard<'_, Hints> {
        lock(&self.hints)
    }
}

/// Whoever panicked with the lock has left what was there before or after.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
