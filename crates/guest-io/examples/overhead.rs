//! What a 4 KiB read from memory costs here, beside bare system calls into a buffer.
//!
//! `cargo run --release -p guest-io --example overhead`

use std::error::Error;
use std::fs::File;
use std::hint::black_box;
use std::io::IoSliceMut;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Instant;

use guest_io::{Deferred, Disk, Engine, Flags, Iovecs, Mode, Storage, Submitted, read_at};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::{ReadWriteFlags, preadv2};
use vm_memory::bitmap::{AtomicBitmap, NewBitmap};
use vm_memory::{GuestAddress, GuestMemory, GuestMemoryMmap, Permissions};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let file = File::from(memfd_create("overhead", MemfdFlags::empty())?);
    file.write_all_at(&vec![1; PAGES as usize * PAGE], 0)?;
    let mut buffer = vec![0; PAGE];
    for _ in 0..2 {
        measure("pread", &mut || {
            Ok(file.read_at(black_box(&mut buffer), page())?)
        })?;
        measure("preadv2", &mut || {
            let mut buffers = [IoSliceMut::new(black_box(&mut buffer))];
            Ok(preadv2(
                &file,
                &mut buffers,
                page(),
                ReadWriteFlags::empty(),
            )?)
        })?;
        guest::<()>("no bitmap", &file)?;
        guest::<AtomicBitmap>("AtomicBitmap", &file)?;
    }
    Ok(())
}

fn guest<B: NewBitmap + Send + Sync + 'static>(name: &str, file: &File) -> Result<()> {
    let ranges = [(GuestAddress(0), 1 << 20), (GuestAddress(1 << 30), 1 << 20)];
    let memory = Arc::new(GuestMemoryMmap::<B>::from_ranges(&ranges)?);
    let segments = [(GuestAddress(0x4000), PAGE)];
    let slice = || {
        memory
            .get_slices(segments[0].0, PAGE, Permissions::Write)?
            .next()
            .unwrap()
    };
    let resolved = slice()?;
    let mut storage = Storage::new();
    let mut iovecs = Iovecs::new(&mut storage);
    measure(&format!("read_at, {name}, slice at hand"), &mut || {
        iovecs.clear();
        iovecs.push(resolved.clone());
        Ok(read_at(file, &mut iovecs, page(), Flags::NONE)?)
    })?;
    let disk = Arc::new(Disk::new(file.try_clone()?)?);
    for mode in [Mode::Sync, Mode::Auto, Mode::Uring] {
        let mut engine = Engine::new(disk.clone(), mode, 1)?;
        measure(
            &format!("engine, {name}, {mode:?}, slice looked up"),
            &mut || {
                iovecs.clear();
                iovecs.push(slice()?);
                let deferred = Deferred {
                    token: 0,
                    memory: &memory,
                    segments,
                };
                match engine.read(page(), &mut iovecs, deferred)? {
                    Submitted::Done(result) => Ok(result?),
                    Submitted::InFlight => {
                        engine.wait()?;
                        Ok(engine.poll().ok_or("nothing read")?.result?)
                    }
                }
            },
        )?;
    }
    Ok(())
}

/// Prints the best of some rounds.
fn measure(name: &str, read: &mut dyn FnMut() -> Result<usize>) -> Result<()> {
    let mut best = f64::MAX;
    for _ in 0..400 {
        let start = Instant::now();
        for _ in 0..ROUND {
            assert_eq!(read()?, PAGE);
        }
        best = best.min(start.elapsed().as_nanos() as f64 / f64::from(ROUND));
    }
    println!("{best:6.0} ns  {name}");
    Ok(())
}

/// The offset of some page of the file.
fn page() -> u64 {
    use std::cell::Cell;
    thread_local!(static NEXT: Cell<u64> = const { Cell::new(0) });
    let next = NEXT.get();
    NEXT.set((next + 7) % PAGES);
    next * PAGE as u64
}

const PAGE: usize = 4096;
const PAGES: u64 = 64;
const ROUND: u32 = 500;
