//! Once it is warm, a request costs no heap.

#[path = "../benches/path/driver.rs"]
mod driver;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write;
use std::sync::Arc;

use driver::{Guest, image};
use virtio_blk::Throttled;
use virtio_blk::guest_io::Mode;

/// What the driver of the bench does.
trait Contender {
    fn read(&mut self, blocks: &[u64]);
}

const BLOCK: usize = 4096;

/// Counts what this thread allocates.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: All of it is done by the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: As our caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: As our caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_warm_request_costs_no_heap() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&[7; 64 * BLOCK]).unwrap();
    for mode in [Mode::Auto, Mode::Uring, Mode::Sync] {
        assert_eq!(allocations(Guest::new(&file, mode, 32)), 0, "{mode:?}");
        let unlimited = Throttled::new(image(&file, mode), Arc::default());
        assert_eq!(allocations(Guest::on(unlimited, 32)), 0, "{mode:?}");
    }
}

fn allocations(mut guest: impl Contender) -> u64 {
    let blocks: Vec<u64> = (0..64).collect();
    (0..4).for_each(|_| guest.read(&blocks));
    let before = ALLOCATIONS.get();
    (0..10).for_each(|_| guest.read(&blocks));
    ALLOCATIONS.get() - before
}
