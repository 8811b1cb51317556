//! The seam for notifications that the hypervisor handles without leaving the kernel.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use virtio_device::vmm_sys_util::eventfd::EventFd;

/// A guest write that notifies one queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Doorbell {
    /// Where the guest writes.
    pub at: DoorbellAddress,
    /// What it writes.
    pub value: DoorbellValue,
}

/// Where a guest writes to notify a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DoorbellAddress {
    /// A port number.
    Pio(u16),
    /// A guest physical address.
    Mmio(u64),
    /// A subchannel, by its identification word, that DIAGNOSE 0x500 notifies
    /// (`KVM_IOEVENTFD_FLAG_VIRTIO_CCW_NOTIFY`).
    Subchannel(u32),
}

/// What a guest writes to notify a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DoorbellValue {
    /// Any value in any width: the address says it all.
    Any,
    /// This value, in 16 bits.
    U16(u16),
    /// This value, in 32 bits.
    U32(u32),
    /// This value, in 64 bits.
    U64(u64),
}

/// Guest writes that become events: KVM's `KVM_IOEVENTFD` or its like. Implemented by the VMM.
///
/// A VMM that has none leaves it out; the transport then decodes each notification itself. Called
/// on changes only, with a lock of the device held: it must not call back into the device.
pub trait IoEventFds: Send + Sync {
    /// From now on, a write of `doorbell` signals `fd` instead of reaching the transport.
    ///
    /// # Errors
    /// Where the host refuses; the transport then decodes this doorbell itself.
    fn assign(&self, doorbell: Doorbell, fd: &EventFd) -> io::Result<()>;

    /// Undoes [`assign`](Self::assign).
    ///
    /// # Errors
    /// Where the host refuses.
    fn release(&self, doorbell: Doorbell, fd: &EventFd) -> io::Result<()>;
}

/// The doorbells of one device that its host has: what a transport that wants others than those
/// leaves to somebody else.
#[derive(Default)]
pub struct DoorbellSet {
    host: Option<Arc<dyn IoEventFds>>,
    assigned: BTreeMap<Doorbell, Arc<EventFd>>,
}

impl DoorbellSet {
    /// No doorbells yet. Where there is no `host`, there never are.
    pub fn new(host: Option<Arc<dyn IoEventFds>>) -> Self {
        Self {
            host,
            assigned: BTreeMap::new(),
        }
    }

    /// Releases what is not among `wanted`, then assigns what is missing.
    ///
    /// # Errors
    /// The first refusal of the host. What it refused is decoded by the transport; the rest is
    /// assigned all the same.
    pub fn set(
        &mut self,
        wanted: impl IntoIterator<Item = (Doorbell, Arc<EventFd>)>,
    ) -> io::Result<()> {
        let Some(host) = &self.host else {
            return Ok(());
        };
        let wanted: BTreeMap<_, _> = wanted.into_iter().collect();
        self.assigned.retain(|doorbell, fd| {
            let keep = wanted.contains_key(doorbell);
            if !keep && let Err(error) = host.release(*doorbell, fd) {
                log::debug!("ioeventfd is not released: {error}");
            }
            keep
        });
        let mut result = Ok(());
        for (doorbell, fd) in wanted {
            if self.assigned.contains_key(&doorbell) {
                continue;
            }
            match host.assign(doorbell, &fd) {
                Ok(()) => drop(self.assigned.insert(doorbell, fd)),
                Err(error) => result = result.and(Err(error)),
            }
        }
        result
    }
}
