//! What the MMIO transport offers to the core.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use virtio_bus::{Kicks, VirtioBus};
use virtio_device::{Features, Interrupt};
use vmm_sys_util::eventfd::EventFd;

use crate::interrupt::MmioInterrupt;
use crate::register::NOTIFY;
use crate::{IoEventFds, MmioProps, MmioSlot};

/// The part of a transport that it shares with its core.
pub(crate) struct MmioBus {
    pub(crate) interrupt: Arc<MmioInterrupt>,
    legacy: bool,
    address: u64,
    ioeventfds: Option<Arc<dyn IoEventFds>>,
    assigned: AtomicBool,
}

impl MmioBus {
    pub(crate) fn new(slot: MmioSlot, props: &MmioProps) -> Self {
        let MmioSlot {
            address,
            line,
            ioeventfds,
        } = slot;
        Self {
            interrupt: Arc::new(MmioInterrupt::new(line)),
            legacy: props.force_legacy,
            address,
            ioeventfds: ioeventfds.filter(|_| props.ioeventfd),
            assigned: AtomicBool::new(false),
        }
    }

    fn assign(&self, ioeventfds: &dyn IoEventFds, kicks: &Kicks) -> io::Result<()> {
        let address = self
            .address
            .checked_add(NOTIFY)
            .ok_or(io::ErrorKind::InvalidInput)?;
        for (done, (queue, fd)) in (0..).zip(kicks.fds()).enumerate() {
            if let Err(error) = ioeventfds.assign(address, queue, fd) {
                let before = kicks.fds().get(..done).unwrap_or_default();
                self.release(ioeventfds, before);
                return Err(error);
            }
        }
        Ok(())
    }

    fn release(&self, ioeventfds: &dyn IoEventFds, fds: &[Arc<EventFd>]) {
        let address = self.address.wrapping_add(NOTIFY);
        for (queue, fd) in (0..).zip(fds) {
            if let Err(error) = ioeventfds.release(address, queue, fd) {
                log::debug!("ioeventfd of queue {queue} not released: {error}");
            }
        }
    }
}

impl VirtioBus for MmioBus {
    fn features(&self, offer: Features) -> Features {
        match self.legacy {
            true => Features::from_bits(offer.page(0).into()),
            false => offer - NOT_OVER_MMIO,
        }
    }

    fn legacy(&self) -> bool {
        self.legacy
    }

    fn interrupt(&self) -> Arc<dyn Interrupt> {
        self.interrupt.clone()
    }

    fn assign_kicks(&self, kicks: &Kicks) -> io::Result<()> {
        if let Some(ioeventfds) = &self.ioeventfds {
            self.assign(&**ioeventfds, kicks)?;
            self.assigned.store(true, Ordering::Release);
        }
        Ok(())
    }

    fn release_kicks(&self, kicks: &Kicks) {
        let assigned = self.assigned.swap(false, Ordering::AcqRel);
        if let Some(ioeventfds) = self.ioeventfds.as_ref().filter(|_| assigned) {
            self.release(&**ioeventfds, kicks.fds());
        }
    }
}

/// What a version 2 device does not offer: the legacy interface's own bits, and those that belong
/// to PCI or change what a write to QueueNotify means.
const NOT_OVER_MMIO: Features = Features::NOTIFY_ON_EMPTY
    .with(Features::ANY_LAYOUT)
    .with(Features::SR_IOV)
    .with(Features::NOTIFICATION_DATA)
    .with(Features::NOTIF_CONFIG_DATA)
    .with(Features::ADMIN_VQ);
