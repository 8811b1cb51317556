//! Guest memory: anonymous, below and above the hole for devices.

use std::io;

use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::VmFd;
use vm_memory::{
    Address, FileOffset, GuestAddress, GuestMemoryAtomic, GuestMemoryBackend, GuestMemoryMmap,
    GuestMemoryRegion, MmapRegion,
};

use crate::layout;

/// The guest's memory. Dirty logging would change this one line.
pub type Memory = GuestMemoryMmap<()>;
/// Guest memory as devices share it.
pub type SharedMemory = GuestMemoryAtomic<Memory>;

/// The ranges of RAM that `bytes` of memory are laid out as.
pub fn ranges(bytes: u64) -> Vec<layout::Range> {
    let low = bytes.min(layout::LOW_RAM.size);
    let mut ranges = vec![layout::Range { base: 0, size: low }];
    if bytes > low {
        ranges.push(layout::Range {
            base: layout::HIGH_RAM_BASE,
            size: bytes - low,
        });
    }
    ranges
}

/// Maps guest memory of `bytes` bytes; nothing of it is touched.
///
/// # Errors
/// Where the host refuses the mapping.
pub fn allocate(bytes: u64) -> io::Result<Memory> {
    let regions = ranges(bytes)
        .into_iter()
        .map(|range| {
            let size = usize::try_from(range.size).map_err(io::Error::other)?;
            Ok((GuestAddress(range.base), size, None::<FileOffset>))
        })
        .collect::<io::Result<Vec<_>>>()?;
    let memory = Memory::from_ranges_with_files(regions).map_err(io::Error::other)?;
    memory.iter().for_each(|region| advise(region));
    Ok(memory)
}

/// Makes guest memory known to KVM.
///
/// # Errors
/// Those of KVM_SET_USER_MEMORY_REGION.
pub fn register(vm: &VmFd, memory: &Memory) -> io::Result<()> {
    for (slot, region) in (0u32..).zip(memory.iter()) {
        let slot = kvm_userspace_memory_region {
            slot,
            guest_phys_addr: region.start_addr().raw_value(),
            memory_size: region.len(),
            userspace_addr: region.as_ptr() as u64,
            flags: 0,
        };
        // SAFETY: the region is mapped for as long as the memory lives. The machine drops its VM
        // before its memory, and no two regions of `memory` share guest or host addresses.
        unsafe { vm.set_user_memory_region(slot)? };
    }
    Ok(())
}

/// Huge pages: a fault on guest memory is dear, the more so when the host is a guest itself.
/// Left out of core dumps. Advice only, so refusal does not matter.
fn advise(region: &MmapRegion<()>) {
    for advice in [libc::MADV_HUGEPAGE, libc::MADV_DONTDUMP] {
        // SAFETY: the range is exactly one live anonymous mapping, and neither advice changes
        // what it holds.
        unsafe { libc::madvise(region.as_ptr().cast(), region.size(), advice) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_over_three_gib_goes_above_the_hole() {
        let sizes = |bytes| {
            ranges(bytes)
                .iter()
                .map(|r| (r.base, r.size))
                .collect::<Vec<_>>()
        };
        assert_eq!(sizes(512 << 20), [(0, 512 << 20)]);
        assert_eq!(sizes(3 << 30), [(0, 3 << 30)]);
        assert_eq!(sizes(4 << 30), [(0, 3 << 30), (4 << 30, 1 << 30)]);
    }

    #[test]
    fn pci_window_is_above_memory() {
        assert_eq!(layout::pci_mmio64(512 << 20).base, 32 << 30);
        assert_eq!(layout::pci_mmio64(64 << 30).base, 96 << 30);
    }
}
