//! Machine checks: how many banks of registers a vCPU has for errors of its hardware.

use std::io;

use kvm_bindings::KVMIO;
use kvm_ioctls::{Cap, Kvm, VcpuFd};
use vmm_sys_util::ioctl::ioctl_with_ref;
use vmm_sys_util::ioctl_iow_nr;

/// Leaves `vcpu` the fewest banks that KVM takes. It makes 32, each of which a kernel reads and
/// writes when it starts, an exit every time; and nothing of this machine ever reports an error in one.
///
/// # Errors
/// Those of KVM_X86_SETUP_MCE.
pub fn limit_banks(kvm: &Kvm, vcpu: &VcpuFd) -> io::Result<()> {
    if !kvm.check_extension(Cap::Mce) {
        return Ok(());
    }
    // SAFETY: the ioctl reads a u64 and keeps no reference to it.
    match unsafe { ioctl_with_ref(vcpu, KVM_X86_SETUP_MCE(), &BANKS) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

ioctl_iow_nr!(KVM_X86_SETUP_MCE, KVMIO, 0x9c, u64);

/// The guest's MCG_CAP: the number of banks, and no other ability.
const BANKS: u64 = 1;
