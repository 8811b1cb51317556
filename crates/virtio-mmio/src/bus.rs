//! What the MMIO transport offers to the core.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use virtio_bus::{Doorbell, DoorbellAddress, DoorbellSet, DoorbellValue, Kicks, VirtioBus};
use virtio_device::{ByteOrder, Features, Interrupt};
use vmm_sys_util::eventfd::EventFd;

use crate::interrupt::MmioInterrupt;
use crate::register::NOTIFY;
use crate::{MmioProps, MmioSlot};

/// The part of a transport that it shares with its core.
pub(crate) struct MmioBus {
    pub(crate) interrupt: Arc<MmioInterrupt>,
    legacy: bool,
    address: u64,
    doorbells: Mutex<DoorbellSet>,
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
            doorbells: Mutex::new(DoorbellSet::new(ioeventfds.filter(|_| props.ioeventfd))),
        }
    }

    /// A write of the queue's number to QueueNotify.
    fn doorbells(&self, kicks: &Kicks) -> Option<Vec<(Doorbell, Arc<EventFd>)>> {
        let at = DoorbellAddress::Mmio(self.address.checked_add(NOTIFY)?);
        let doorbell = |(queue, fd): (u32, &Arc<EventFd>)| {
            let value = DoorbellValue::U32(queue);
            (Doorbell { at, value }, fd.clone())
        };
        Some((0..).zip(kicks.fds()).map(doorbell).collect())
    }

    fn lock(&self) -> MutexGuard<'_, DoorbellSet> {
        self.doorbells
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl VirtioBus for MmioBus {
    fn features(&self, offer: Features) -> Features {
        match self.legacy {
            true => Features::from_bits(offer.page(0).into()),
            false => offer - NOT_OVER_MMIO,
        }
    }

    /// Guests are taken to be little-endian.
    fn legacy(&self) -> Option<ByteOrder> {
        self.legacy.then_some(ByteOrder::Little)
    }

    fn interrupt(&self) -> Arc<dyn Interrupt> {
        self.interrupt.clone()
    }

    fn assign_kicks(&self, kicks: &Kicks) -> io::Result<()> {
        let doorbells = self.doorbells(kicks);
        self.lock()
            .set(doorbells.ok_or(io::ErrorKind::InvalidInput)?)
    }

    fn release_kicks(&self, _: &Kicks) {
        // Nothing is assigned here, so nothing can fail.
        let _ = self.lock().set([]);
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
