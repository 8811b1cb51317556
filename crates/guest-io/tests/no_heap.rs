//! A request costs no heap once the first ones were done.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use common::{Guard, PAGE, file_of, memory, pattern, push};
use guest_io::{Deferred, Disk, Engine, Flags, Iovecs, Mode, Storage, Submitted};
use vm_memory::{GuestAddress, Permissions};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: Everything is left to the system's allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: The caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: As above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn request(engine: &mut Engine<Guard>, storage: &mut Storage, memory: &Guard) {
    let segments = [(GuestAddress(0), PAGE), (GuestAddress(0x40000), PAGE)];
    let mut iovecs = Iovecs::new(storage);
    for flags in [None, Some(Flags::NONE)] {
        push(&mut iovecs, &**memory, &segments, Permissions::ReadWrite);
        let deferred = Deferred {
            token: 0,
            memory,
            segments,
        };
        let submitted = match flags {
            None => engine.read(0, &mut iovecs, deferred),
            Some(flags) => engine.write(0, flags, &mut iovecs, deferred),
        };
        if let Submitted::InFlight = submitted.unwrap() {
            engine.flush().unwrap();
            engine.wait().unwrap();
            assert_eq!(engine.poll().unwrap().result.unwrap(), 2 * PAGE);
        }
        iovecs.clear();
    }
}

#[test]
fn requests_allocate_nothing() {
    for mode in [Mode::Sync, Mode::Auto, Mode::Uring] {
        let memory = memory();
        let disk = Arc::new(Disk::new(file_of(&pattern(2 * PAGE))).unwrap());
        let (mut engine, mut storage) = (Engine::new(disk, mode, 1).unwrap(), Storage::new());
        request(&mut engine, &mut storage, &memory);
        let before = ALLOCATIONS.get();
        for _ in 0..100 {
            request(&mut engine, &mut storage, &memory);
        }
        assert_eq!(ALLOCATIONS.get() - before, 0, "{mode:?}");
    }
}
