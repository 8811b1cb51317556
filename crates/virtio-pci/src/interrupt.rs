//! Notifications to the driver: MSI-X vectors, or INTx with the ISR status (section 4.1.5.3 ff.).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU16, Ordering};

use virtio_device::{Interrupt, IrqSource};
use vm_pci::{FunctionCore, Msix};
use vmm_sys_util::eventfd::EventFd;

/// Vector registers and ISR status of one device. With MSI-X a trigger takes no lock; with INTx it
/// takes that of the function's registers, and only if the interrupt was not asserted already.
pub(crate) struct PciInterrupt {
    function: Arc<FunctionCore>,
    /// Number of vectors that there are.
    vectors: u16,
    /// The events of ISR status, and [`OPEN`]: in one word, so that a worker that is late cannot
    /// leave an event behind after a reset.
    isr: AtomicU8,
    config: AtomicU16,
    queues: Box<[AtomicU16]>,
}

impl PciInterrupt {
    pub(crate) fn new(function: Arc<FunctionCore>, queues: usize) -> Self {
        let no_vector = || AtomicU16::new(NO_VECTOR);
        Self {
            vectors: function.info().vectors,
            function,
            isr: AtomicU8::new(0),
            config: no_vector(),
            queues: std::iter::repeat_with(no_vector).take(queues).collect(),
        }
    }

    /// Vector of `source`; [`NO_VECTOR`] for a queue that does not exist.
    pub(crate) fn vector(&self, source: IrqSource) -> u16 {
        self.register(source)
            .map_or(NO_VECTOR, |vector| vector.load(Ordering::Acquire))
    }

    /// The driver mapped `source` to a vector. One that does not exist reads back as none, which
    /// tells the driver (section 4.1.5.1.2.1).
    pub(crate) fn set_vector(&self, source: IrqSource, vector: u16) {
        let there = vector < self.vectors;
        if let Some(register) = self.register(source) {
            register.store(if there { vector } else { NO_VECTOR }, Ordering::Release);
        }
    }

    pub(crate) fn queue_vectors(&self) -> Vec<u16> {
        let vectors = self.queues.iter();
        vectors
            .map(|vector| vector.load(Ordering::Acquire))
            .collect()
    }

    /// The driver read ISR status, which clears it and deasserts the interrupt.
    pub(crate) fn take_isr(&self) -> u8 {
        let events = self.isr.fetch_and(!EVENTS, Ordering::AcqRel) & EVENTS;
        if events != 0 {
            self.follow();
        }
        events
    }

    /// ISR status, without the effect of reading it.
    pub(crate) fn isr(&self) -> u8 {
        self.isr.load(Ordering::Acquire) & EVENTS
    }

    /// ISR status as saved.
    pub(crate) fn restore_isr(&self, events: u8) {
        self.isr.store(events & EVENTS, Ordering::Release);
        self.follow();
    }

    /// The driver is about to be ready: events count from now on.
    pub(crate) fn open(&self) {
        self.isr.fetch_or(OPEN, Ordering::AcqRel);
    }

    /// No vectors, no events, and none to come before [`open`](Self::open).
    pub(crate) fn reset(&self) {
        let Self {
            function: _,
            vectors: _,
            isr,
            config,
            queues,
        } = self;
        config.store(NO_VECTOR, Ordering::Release);
        queues
            .iter()
            .for_each(|vector| vector.store(NO_VECTOR, Ordering::Release));
        isr.store(0, Ordering::Release);
        self.follow();
    }

    /// Makes the function's interrupt follow ISR status and the MSI-X enable bit. Whoever drives it
    /// looks again afterwards, so that of several at once the last leaves it right.
    pub(crate) fn follow(&self) {
        let mut level = self.level();
        loop {
            self.function.set_interrupt(level);
            let now = self.level();
            if now == level {
                return;
            }
            level = now;
        }
    }

    fn level(&self) -> bool {
        self.isr() != 0 && self.msix().is_none()
    }

    /// MSI-X while it is enabled.
    fn msix(&self) -> Option<&Arc<Msix>> {
        self.function.msix().filter(|msix| msix.enabled())
    }

    fn register(&self, source: IrqSource) -> Option<&AtomicU16> {
        match source {
            IrqSource::Config => Some(&self.config),
            IrqSource::Queue(queue) => self.queues.get(usize::from(queue)),
        }
    }

    /// Sets an event; true if it is the first.
    fn raise(&self, event: u8) -> bool {
        let raise = |isr| (isr & OPEN != 0).then_some(isr | event);
        let before = self
            .isr
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, raise);
        before.is_ok_and(|before| before & EVENTS == 0)
    }
}

impl Interrupt for PciInterrupt {
    fn trigger(&self, source: IrqSource) -> io::Result<()> {
        let Some(msix) = self.msix() else {
            if self.raise(event(source)) {
                self.follow();
            }
            return Ok(());
        };
        // With MSI-X, ISR status shows changes of the configuration only (section 4.1.4.5.1).
        if source == IrqSource::Config {
            self.raise(CONFIG_CHANGE);
        }
        msix.trigger(self.vector(source));
        Ok(())
    }

    fn irqfd(&self, source: IrqSource) -> Option<EventFd> {
        let event = self.msix()?.irqfd(self.vector(source))?;
        event.try_clone().ok()
    }
}

fn event(source: IrqSource) -> u8 {
    match source {
        IrqSource::Queue(_) => USED_BUFFER,
        // As QEMU's devices do: there are drivers that only look for the queues' bit, and to look at
        // queues in vain does no harm.
        IrqSource::Config => USED_BUFFER | CONFIG_CHANGE,
    }
}

/// VIRTIO_MSI_NO_VECTOR.
pub(crate) const NO_VECTOR: u16 = 0xffff;

const USED_BUFFER: u8 = 1;
const CONFIG_CHANGE: u8 = 2;
/// The bits that ISR status shows.
pub(crate) const EVENTS: u8 = USED_BUFFER | CONFIG_CHANGE;
/// Events count.
const OPEN: u8 = 1 << 7;
