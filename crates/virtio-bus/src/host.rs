//! The core's side of [`DeviceHost`]: what devices and workers may ask from any thread.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use virtio_device::{DeviceHost, DeviceId, Info, Interrupt, IrqSource};

/// The part of the status that does not wait for the core's lock.
pub(crate) struct Host {
    id: DeviceId,
    interrupt: Arc<dyn Interrupt>,
    driver_ok: AtomicBool,
    needs_reset: AtomicBool,
    /// By queue: it was reset, and its job has not started again since.
    reset: Vec<AtomicBool>,
    complaints: Mutex<Complaints>,
}

/// What the log was told last, and what it was not told since.
#[derive(Default)]
struct Complaints {
    last: Option<Instant>,
    unsaid: u32,
}

impl Host {
    pub(crate) fn new(info: &Info, interrupt: Arc<dyn Interrupt>) -> Self {
        let queues = info.queue_sizes.iter();
        Self {
            id: info.id,
            reset: queues.map(|_| AtomicBool::new(false)).collect(),
            complaints: Mutex::default(),
            interrupt,
            driver_ok: AtomicBool::new(false),
            needs_reset: AtomicBool::new(false),
        }
    }

    pub(crate) fn set_driver_ok(&self, on: bool) {
        self.driver_ok.store(on, Ordering::Release);
    }

    pub(crate) fn reset(&self) {
        self.driver_ok.store(false, Ordering::Release);
        self.needs_reset.store(false, Ordering::Release);
    }

    /// Remembers whether the driver has reset `queue`, before its worker is told to stop or to start.
    pub(crate) fn set_reset(&self, queue: u16, on: bool) {
        if let Some(reset) = self.reset.get(usize::from(queue)) {
            reset.store(on, Ordering::Release);
        }
    }

    /// Warns of what a driver can bring about, again and again by resets: seldom enough not to
    /// flood the log.
    pub(crate) fn complain(&self, of: fmt::Arguments<'_>) {
        let complaints = self.complaints.lock();
        let mut complaints = complaints.unwrap_or_else(PoisonError::into_inner);
        if complaints.last.is_some_and(|last| last.elapsed() < PAUSE) {
            complaints.unsaid = complaints.unsaid.saturating_add(1);
            return;
        }
        complaints.last = Some(Instant::now());
        match std::mem::take(&mut complaints.unsaid) {
            0 => log::warn!("{}: {of}", self.id),
            more => log::warn!("{}: {of} (after {more} warnings left out)", self.id),
        }
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.needs_reset.load(Ordering::Acquire)
    }
}

impl DeviceHost for Host {
    fn config_changed(&self) {
        if self.driver_ok.load(Ordering::Acquire)
            && self.interrupt.trigger(IrqSource::Config).is_err()
        {
            log::debug!("configuration interrupt refused by the host");
        }
    }

    fn needs_reset(&self) {
        if !self.needs_reset.swap(true, Ordering::AcqRel) {
            self.config_changed();
        }
    }

    fn is_reset(&self, queue: u16) -> bool {
        let reset = self.reset.get(usize::from(queue));
        reset.is_some_and(|reset| reset.load(Ordering::Acquire))
    }
}

/// Between two complaints of one device.
const PAUSE: Duration = Duration::from_secs(10);
