//! Reads the first blocks of a file into guest memory, the way a disk device does: from the page
//! cache at once, and the rest through the ring.
//!
//! `cargo run -p guest-io --example read_disk -- Cargo.toml`

use std::error::Error;
use std::fs::File;
use std::sync::Arc;

use guest_io::{Access, Deferred, Disk, Engine, Iovecs, Mode, Storage, Submitted, lock};
use vm_memory::bitmap::AtomicBitmap;
use vm_memory::{Bytes, GuestAddress, GuestMemory, GuestMemoryMmap, Permissions};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "Cargo.toml".into());
    let file = File::open(path)?;
    lock(&file, Access::Read)?;
    let disk = Arc::new(Disk::new(file)?);
    let ranges = [(GuestAddress(0), 1 << 20)];
    let memory = Arc::new(GuestMemoryMmap::<AtomicBitmap>::from_ranges(&ranges)?);

    // Once per queue.
    let mut engine = Engine::new(disk, Mode::Auto, 128)?;
    let mut storage = Storage::new();
    if let Some(reason) = engine.refusal() {
        println!("without io_uring: {reason}");
    }

    // Once per request.
    let segments = [(GuestAddress(0x1000), 512), (GuestAddress(0x8000), 512)];
    let mut iovecs = Iovecs::new(&mut storage);
    for (address, len) in segments {
        for slice in memory.get_slices(address, len, Permissions::Write)? {
            iovecs.push(slice?);
        }
    }
    let deferred = Deferred {
        token: 1,
        memory: &memory,
        segments,
    };
    let count = match engine.read(0, &mut iovecs, deferred)? {
        Submitted::Done(result) => result?,
        Submitted::InFlight => wait(&mut engine)?,
    };

    let mut first = [0; 16];
    memory.read_slice(&mut first, GuestAddress(0x1000))?;
    println!(
        "{count} bytes, beginning with {:?}",
        String::from_utf8_lossy(&first)
    );
    Ok(())
}

/// An event loop would watch `Engine::completion_fd` instead.
fn wait(engine: &mut Engine<Arc<GuestMemoryMmap<AtomicBitmap>>>) -> std::io::Result<usize> {
    loop {
        engine.flush()?;
        engine.wait()?;
        if let Some(completion) = engine.poll() {
            return completion.result;
        }
    }
}
