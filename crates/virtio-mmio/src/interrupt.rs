//! InterruptStatus, InterruptACK and the line behind them (section 4.2.3.4).

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use virtio_device::{Interrupt, IrqSource};
use vmm_sys_util::eventfd::EventFd;

/// The wire from a device to the guest's interrupt controller.
///
/// An [`EventFd`] that the VMM has registered as irqfd is one, edge-triggered: each event writes it
/// once. So is any `Fn(bool) -> io::Result<()>`, level-triggered.
pub trait IrqLine: Send + Sync {
    /// Drives the line. High is called for every event, whether or not the line was high already;
    /// low when the driver has acknowledged all of them. Called from any thread.
    ///
    /// # Errors
    /// Where the host refuses.
    fn set(&self, high: bool) -> io::Result<()>;
}

impl IrqLine for EventFd {
    fn set(&self, high: bool) -> io::Result<()> {
        match high.then(|| self.write(1)).transpose() {
            // The counter is full: nobody has seen the earlier events yet, nor will miss this one.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            result => result.map(drop),
        }
    }
}

impl<F: Fn(bool) -> io::Result<()> + Send + Sync> IrqLine for F {
    fn set(&self, high: bool) -> io::Result<()> {
        self(high)
    }
}

/// The interrupt registers of one device. Lock-free.
pub(crate) struct MmioInterrupt {
    status: AtomicU32,
    line: Box<dyn IrqLine>,
}

impl MmioInterrupt {
    pub(crate) fn new(line: Box<dyn IrqLine>) -> Self {
        Self {
            status: AtomicU32::new(0),
            line,
        }
    }

    /// InterruptStatus.
    pub(crate) fn status(&self) -> u32 {
        self.status.load(Ordering::SeqCst)
    }

    /// The driver wrote InterruptACK.
    pub(crate) fn acknowledge(&self, bits: u32) {
        let before = self.status.fetch_and(!bits, Ordering::SeqCst);
        if before != 0 && before & !bits == 0 {
            self.drive_or_log(false);
        }
    }

    /// As after reset, or as saved.
    pub(crate) fn set_status(&self, status: u32) {
        if self.status.swap(status & EVENTS, Ordering::SeqCst) != status & EVENTS {
            self.drive_or_log(status & EVENTS != 0);
        }
    }

    /// An acknowledgement and a new event may cross: whoever drives the line looks again
    /// afterwards, so the last one to do so leaves it as the status says.
    fn drive(&self, mut high: bool) -> io::Result<()> {
        loop {
            self.line.set(high)?;
            let now = self.status() != 0;
            if now == high {
                return Ok(());
            }
            high = now;
        }
    }

    fn drive_or_log(&self, high: bool) {
        if let Err(error) = self.drive(high) {
            log::debug!("interrupt line refused by the host: {error}");
        }
    }
}

impl Interrupt for MmioInterrupt {
    fn trigger(&self, source: IrqSource) -> io::Result<()> {
        let event = match source {
            IrqSource::Queue(_) => USED_BUFFER,
            IrqSource::Config => CONFIG_CHANGE,
        };
        self.status.fetch_or(event, Ordering::SeqCst);
        self.drive(true)
    }

    /// None: an interrupt that leaves InterruptStatus unset is not this device's.
    fn irqfd(&self, _: IrqSource) -> Option<EventFd> {
        None
    }
}

/// The bits of InterruptStatus that can be set.
pub(crate) const EVENTS: u32 = USED_BUFFER | CONFIG_CHANGE;

const USED_BUFFER: u32 = 1;
const CONFIG_CHANGE: u32 = 2;
