//! The seam for notifications that the hypervisor handles without leaving the kernel.

use std::io;

use vmm_sys_util::eventfd::EventFd;

/// Register writes that become events: KVM's `KVM_IOEVENTFD` or its like. Implemented by the VMM.
///
/// A VMM that has none leaves it out; the transport then decodes each notification itself.
pub trait IoEventFds: Send + Sync {
    /// From now on, a 32-bit write of `datamatch` to guest address `address` signals `fd` instead
    /// of reaching the transport.
    ///
    /// # Errors
    /// Where the host refuses.
    fn assign(&self, address: u64, datamatch: u32, fd: &EventFd) -> io::Result<()>;

    /// Undoes [`assign`](Self::assign).
    ///
    /// # Errors
    /// Where the host refuses.
    fn release(&self, address: u64, datamatch: u32, fd: &EventFd) -> io::Result<()>;
}
