//! The seam for notifications that the hypervisor handles without leaving the kernel.

use std::io;

use virtio_device::vmm_sys_util::eventfd::EventFd;

use crate::css::SubchannelId;

/// Notifications that become events: KVM's `KVM_IOEVENTFD` with the flag
/// `KVM_IOEVENTFD_FLAG_VIRTIO_CCW_NOTIFY`, the subchannel's word as address and the queue as match,
/// of 8 bytes. Implemented by the VMM.
///
/// A VMM that has none leaves it out; each notification then is a DIAGNOSE that the VMM hands to
/// the channel subsystem.
pub trait IoEventFds: Send + Sync {
    /// From now on, a notification of queue `queue` of `subchannel` signals `fd` instead of
    /// reaching the channel subsystem.
    ///
    /// # Errors
    /// Where the host refuses.
    fn assign(&self, subchannel: SubchannelId, queue: u16, fd: &EventFd) -> io::Result<()>;

    /// Undoes [`assign`](Self::assign).
    ///
    /// # Errors
    /// Where the host refuses.
    fn release(&self, subchannel: SubchannelId, queue: u16, fd: &EventFd) -> io::Result<()>;
}
