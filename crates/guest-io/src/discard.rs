//! Guest memory that is given back to the host.

use std::io;

use rustix::io::Errno;
use vm_memory::VolatileSlice;
use vm_memory::bitmap::BitmapSlice;

/// Gives the host pages that lie wholly inside `slice` back to the host kernel. The guest finds
/// zeroes there, or what a privately mapped file has; a shared file or memory object has a hole then.
/// Parts of pages at either end stay as they are.
///
/// What it does to memory is what the guest itself could do: it is marked dirty.
///
/// # Errors
/// Where the kernel refuses, as it does for locked memory, and for parts of huge pages of hugetlbfs.
pub fn discard<B: BitmapSlice>(slice: &VolatileSlice<'_, B>) -> io::Result<()> {
    let base = slice.ptr_guard_mut().as_ptr();
    let page = page_size();
    let skipped = base.align_offset(page);
    let len = slice.len().saturating_sub(skipped) / page * page;
    if len == 0 {
        return Ok(());
    }
    // Where the mapping is shared, unmapping pages would free nothing.
    let removed = match advise(base.wrapping_add(skipped), len, libc::MADV_REMOVE) {
        Err(error) if is_private(&error) => {
            advise(base.wrapping_add(skipped), len, libc::MADV_DONTNEED)
        }
        result => result,
    };
    if removed.is_ok() {
        slice.bitmap().mark_dirty(skipped, len);
    }
    removed
}

/// Bytes of a page of the host.
pub fn page_size() -> usize {
    // SAFETY: asks the C library for a number that it was started with.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(SMALLEST_PAGE)
}

/// Whether MADV_REMOVE says that there is no file in which a hole could be made.
fn is_private(error: &io::Error) -> bool {
    [Errno::INVAL, Errno::ACCESS, Errno::OPNOTSUPP]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

fn advise(start: *mut u8, len: usize, advice: libc::c_int) -> io::Result<()> {
    // SAFETY: the range is inside a slice of guest memory, which is mapped for the slice's life and
    // which nobody in this process holds a reference to. Both advices do to its bytes what writes
    // to them could do, and leave the mapping there.
    match unsafe { libc::madvise(start.cast(), len, advice) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Hosts that cannot tell have none larger.
const SMALLEST_PAGE: usize = 4096;
