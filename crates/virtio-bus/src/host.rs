//! The core's side of [`DeviceHost`]: what devices and workers may ask from any thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use virtio_device::{DeviceHost, Interrupt, IrqSource};

/// The part of the status that does not wait for the core's lock.
pub(crate) struct Host {
    interrupt: Arc<dyn Interrupt>,
    driver_ok: AtomicBool,
    needs_reset: AtomicBool,
}

impl Host {
    pub(crate) fn new(interrupt: Arc<dyn Interrupt>) -> Self {
        Self {
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
}
