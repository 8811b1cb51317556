//! What the channel I/O transport offers to the core.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use virtio_bus::{Doorbell, DoorbellAddress, DoorbellSet, DoorbellValue, Kicks, VirtioBus};
use virtio_device::{AddressSpace, ByteOrder, Features, Interrupt};

use crate::css::SubchannelId;
use crate::interrupt::CcwInterrupt;
use crate::revision::{Revision, Revisions};

/// The part of a transport that it shares with its core.
pub(crate) struct CcwBus<AS> {
    pub(crate) interrupt: Arc<CcwInterrupt<AS>>,
    pub(crate) revisions: Revisions,
    /// Whether there are adapter interrupts.
    pub(crate) adapter_interrupts: bool,
    pub(crate) subchannel: SubchannelId,
    pub(crate) doorbells: Mutex<DoorbellSet>,
}

/// The features that a driver of `revision` is shown, of those that the device offers: a legacy
/// driver has no words for more than 32.
pub(crate) fn shown(offer: Features, revision: Revision) -> Features {
    match revision.is_legacy() {
        true => Features::from_bits(offer.page(0).into()),
        false => offer - LEGACY_ONLY,
    }
}

impl<AS> CcwBus<AS> {
    fn doorbells(&self) -> MutexGuard<'_, DoorbellSet> {
        self.doorbells
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl<AS: AddressSpace> VirtioBus for CcwBus<AS> {
    fn features(&self, offer: Features) -> Features {
        match (self.revisions.has_legacy(), self.revisions.has_modern()) {
            (true, true) => offer - NOT_OVER_CCW,
            (false, _) => offer - NOT_OVER_CCW - LEGACY_ONLY,
            (true, false) => Features::from_bits(offer.page(0).into()),
        }
    }

    fn legacy(&self) -> Option<ByteOrder> {
        let selected = self.revisions.selected();
        let legacy = selected.map_or(self.revisions.has_legacy(), Revision::is_legacy);
        legacy.then(|| Revision::LEGACY.byte_order())
    }

    fn interrupt(&self) -> Arc<dyn Interrupt> {
        self.interrupt.clone()
    }

    /// A DIAGNOSE that names the subchannel and the queue.
    fn assign_kicks(&self, kicks: &Kicks) -> io::Result<()> {
        let at = DoorbellAddress::Subchannel(self.subchannel.word());
        let doorbells = (0..).zip(kicks.fds()).map(|(queue, fd)| {
            let value = DoorbellValue::U64(queue);
            (Doorbell { at, value }, fd.clone())
        });
        self.doorbells().set(doorbells)
    }

    fn release_kicks(&self, _: &Kicks) {
        // Nothing is assigned here, so nothing can fail.
        let _ = self.doorbells().set([]);
    }
}

/// Bits that only the legacy interface shows.
pub(crate) const LEGACY_ONLY: Features = Features::NOTIFY_ON_EMPTY.with(Features::ANY_LAYOUT);

/// What belongs to PCI or changes what a notification says, and what is reserved for future use
/// over channel I/O (section 4.3.4).
const NOT_OVER_CCW: Features = Features::RING_RESET
    .with(Features::ADMIN_VQ)
    .with(Features::SR_IOV)
    .with(Features::NOTIFICATION_DATA)
    .with(Features::NOTIF_CONFIG_DATA);
