//! Guest memory: anonymous, below and above the hole for devices.

use std::io;
use std::ptr;

use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::VmFd;
use vm_memory::{
    Address, GuestAddress, GuestMemoryAtomic, GuestMemoryBackend, GuestMemoryMmap,
    GuestMemoryRegion, GuestRegionMmap, MmapRegion,
};

use crate::layout;
use crate::tally::Tally;

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

/// Maps guest memory of `bytes` bytes; nothing of it is touched. It stays mapped until the process
/// ends, whatever a device may still hold of it then.
///
/// # Errors
/// Where the host refuses the mapping.
pub fn allocate(bytes: u64) -> io::Result<Memory> {
    let regions = ranges(bytes)
        .into_iter()
        .map(region)
        .collect::<io::Result<Vec<_>>>()?;
    Memory::from_regions(regions).map_err(io::Error::other)
}

/// Has all threads share one heap: nothing on the way of a request allocates, a heap for each
/// thread costs memory, and the C library would look for the number of processors in a file, which
/// the sandbox refuses, before it makes the ninth. What is large goes back to the host when it is freed, even after
/// something larger was (a decoder's dictionary). To be called before there is a second thread.
pub fn share_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: sets numbers that the allocator reads, before another thread can allocate.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 128 << 10);
    }
}

/// Makes guest memory known to KVM, in slots that are counted in `tally`.
///
/// # Errors
/// Those of KVM_SET_USER_MEMORY_REGION.
pub fn register(vm: &VmFd, memory: &Memory, tally: &Tally) -> io::Result<()> {
    for (slot, region) in (0u32..).zip(memory.iter()) {
        let slot = kvm_userspace_memory_region {
            slot,
            guest_phys_addr: region.start_addr().raw_value(),
            memory_size: region.len(),
            userspace_addr: region.as_ptr() as u64,
            flags: 0,
        };
        // SAFETY: the region stays mapped until the process ends, and no two regions of `memory`
        // share guest or host addresses.
        unsafe { vm.set_user_memory_region(slot)? };
        tally.memory_slots.more();
    }
    Ok(())
}

fn region(range: layout::Range) -> io::Result<GuestRegionMmap<()>> {
    let size = usize::try_from(range.size).map_err(io::Error::other)?;
    let start = map_aligned(size)?;
    advise(start, size);
    // SAFETY: `start` is a mapping of `size` bytes with this protection and these flags, made for
    // this region alone and never unmapped.
    let region = unsafe { MmapRegion::build_raw(start, size, PROTECTION, FLAGS) };
    let region = region.map_err(io::Error::other)?;
    GuestRegionMmap::new(region, GuestAddress(range.base))
        .ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// Maps `size` bytes at a multiple of [`HUGE_PAGE`]: only where guest and host address agree in
/// their lower bits can KVM map huge pages, and a guest that boots then faults some hundred times
/// instead of some ten thousand.
fn map_aligned(size: usize) -> io::Result<*mut u8> {
    let reserved = size
        .checked_add(HUGE_PAGE)
        .ok_or(io::ErrorKind::OutOfMemory)?;
    // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
    let base = unsafe { libc::mmap(ptr::null_mut(), reserved, PROTECTION, FLAGS, -1, 0) };
    if base == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let head = base.align_offset(HUGE_PAGE);
    let start = base.wrapping_byte_add(head);
    for (unused, length) in [
        (base, head),
        (start.wrapping_byte_add(size), HUGE_PAGE - head),
    ] {
        if length > 0 {
            // SAFETY: both pieces are in the mapping just made, outside of what is handed out.
            unsafe { libc::munmap(unused, length) };
        }
    }
    Ok(start.cast())
}

/// Huge pages, and nothing in core dumps. Advice only, so refusal does not matter.
fn advise(start: *mut u8, size: usize) {
    for advice in [libc::MADV_HUGEPAGE, libc::MADV_DONTDUMP] {
        // SAFETY: the range is one live anonymous mapping, and neither advice changes what it holds.
        unsafe { libc::madvise(start.cast(), size, advice) };
    }
}

const HUGE_PAGE: usize = 2 << 20;
const PROTECTION: i32 = libc::PROT_READ | libc::PROT_WRITE;
const FLAGS: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;

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
    fn host_addresses_allow_huge_pages() {
        let memory = allocate(5 << 30).unwrap();
        let regions: Vec<_> = memory
            .iter()
            .map(|r| (r.start_addr().0, r.len(), r.as_ptr()))
            .collect();
        let [(0, low, first), (base, high, second)] = regions[..] else {
            panic!("{regions:?}")
        };
        assert_eq!((low, base, high), (3 << 30, 4 << 30, 2 << 30));
        assert_eq!(
            [first, second].map(|start| start.align_offset(HUGE_PAGE)),
            [0, 0]
        );
    }

    #[test]
    fn pci_window_is_above_memory() {
        assert_eq!(layout::pci_mmio64(512 << 20).base, 32 << 30);
        assert_eq!(layout::pci_mmio64(64 << 30).base, 96 << 30);
    }
}
