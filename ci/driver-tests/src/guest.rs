//! The drivers' platform: guest memory, from which pages are taken for rings and bounce buffers.

use std::cell::RefCell;
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;

use virtio_drivers::{BufferDirection, Hal, PAGE_SIZE, PhysAddr};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

/// Guest memory as devices take it.
pub type Memory = Arc<GuestMemoryMmap<()>>;

/// A guest of one test. The drivers' platform calls have no `self`, so each thread has at most one
/// guest, which the last [`Guest::new`] has made.
#[derive(Clone)]
pub struct Guest {
    memory: Memory,
}

/// The platform of the calling thread's guest.
pub struct GuestHal;

thread_local! {
    static PAGES: RefCell<Option<Pages>> = const { RefCell::new(None) };
}

impl Guest {
    /// Bytes of memory for the platform itself, such as channel programs.
    pub const LOW: u64 = 1 << 16;

    /// A guest with 16 MiB of memory at 1 MiB, for drivers that this thread is about to run, and
    /// [`Self::LOW`] bytes from 0 on, which are no driver's.
    ///
    /// # Panics
    /// Where the host has no memory, or a driver of an earlier guest still has pages mapped.
    pub fn new() -> Self {
        let low = (GuestAddress(0), Self::LOW as usize);
        let pages = (GuestAddress(START), PAGES_IN_ALL * PAGE_SIZE);
        let memory = GuestMemoryMmap::from_ranges(&[low, pages]).expect("guest memory");
        let memory = Arc::new(memory);
        let pages = Pages {
            memory: memory.clone(),
            taken: vec![false; PAGES_IN_ALL],
            mapped: 0,
        };
        PAGES.with_borrow_mut(|current| {
            let before = current.replace(pages);
            assert!(before.is_none_or(|pages| pages.mapped == 0));
        });
        Self { memory }
    }

    /// Its memory.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Pages that drivers hold at the moment: 0 once all are gone, if none leaks.
    pub fn pages_in_use(&self) -> usize {
        with_pages(|pages| pages.in_use())
    }
}

impl Default for Guest {
    fn default() -> Self {
        Self::new()
    }
}

struct Pages {
    memory: Memory,
    taken: Vec<bool>,
    /// How many of them drivers have pointers to: their rings, not bounce buffers.
    mapped: usize,
}

impl Pages {
    fn in_use(&self) -> usize {
        self.taken.iter().filter(|taken| **taken).count()
    }

    /// Guest address of `count` free pages in a row, zeroed.
    fn take(&mut self, count: usize) -> u64 {
        let free = |window: &[bool]| window.iter().all(|taken| !taken);
        let first = self.taken.windows(count).position(free);
        let first = first.expect("guest memory is full");
        self.taken[first..first + count].fill(true);
        let address = START + (first * PAGE_SIZE) as u64;
        self.memory
            .write_slice(&vec![0; count * PAGE_SIZE], GuestAddress(address))
            .expect("own page");
        address
    }

    fn give_back(&mut self, address: u64, count: usize) {
        let first = (address - START) as usize / PAGE_SIZE;
        for taken in &mut self.taken[first..first + count] {
            assert!(*taken, "a page is given back twice");
            *taken = false;
        }
    }
}

fn with_pages<R>(f: impl FnOnce(&mut Pages) -> R) -> R {
    PAGES.with_borrow_mut(|pages| f(pages.as_mut().expect("this thread has a guest")))
}

// SAFETY: pages come zeroed from `Pages`, which gives each to one owner at a time, out of a mapping
// that outlives the thread's drivers: `PAGES` holds it until the next guest, which checks that no
// page is mapped.
unsafe impl Hal for GuestHal {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        with_pages(|guest| {
            let address = guest.take(pages);
            guest.mapped += pages;
            let host = guest.memory.get_host_address(GuestAddress(address));
            (
                address,
                NonNull::new(host.expect("own page")).expect("mapped"),
            )
        })
    }

    unsafe fn dma_dealloc(paddr: PhysAddr, _: NonNull<u8>, pages: usize) -> i32 {
        with_pages(|guest| {
            guest.mapped -= pages;
            guest.give_back(paddr, pages);
        });
        0
    }

    unsafe fn mmio_phys_to_virt(_: PhysAddr, _: usize) -> NonNull<u8> {
        unreachable!("registers are not mapped here: see `Window`")
    }

    unsafe fn share(buffer: NonNull<[u8]>, direction: BufferDirection) -> PhysAddr {
        with_pages(|guest| {
            let address = guest.take(buffer.len().div_ceil(PAGE_SIZE));
            if direction != BufferDirection::DeviceToDriver {
                // SAFETY: the caller says that the buffer is valid and nobody else's during the call.
                let bytes = unsafe { slice::from_raw_parts(buffer.cast().as_ptr(), buffer.len()) };
                guest
                    .memory
                    .write_slice(bytes, GuestAddress(address))
                    .expect("own page");
            }
            address
        })
    }

    unsafe fn unshare(paddr: PhysAddr, buffer: NonNull<[u8]>, direction: BufferDirection) {
        with_pages(|guest| {
            if direction != BufferDirection::DriverToDevice {
                // SAFETY: the caller says that the buffer is valid and nobody else's during the call.
                let bytes =
                    unsafe { slice::from_raw_parts_mut(buffer.cast().as_ptr(), buffer.len()) };
                guest
                    .memory
                    .read_slice(bytes, GuestAddress(paddr))
                    .expect("own page");
            }
            guest.give_back(paddr, buffer.len().div_ceil(PAGE_SIZE));
        });
    }
}

/// Not 0, which the drivers take for a failure.
const START: u64 = 1 << 20;
const PAGES_IN_ALL: usize = 4096;
