//! What becomes of memory that a guest gives up.

use std::io;

use virtio_device::vm_memory::VolatileSlice;
use virtio_device::vm_memory::bitmap::BitmapSlice;

/// Takes memory back from a guest, which may touch it again at any time.
pub trait Reclaim: Send + 'static {
    /// Bytes of a page of the host: a power of two, at least 4096. Larger ones are given up once
    /// the guest has given up every part of one, up to 2 MiB; still larger ones never.
    fn page_size(&self) -> u64;

    /// Gives up `memory`, whole pages of the host by guest address. What the guest finds there when
    /// it comes back is as before, or zeroes.
    ///
    /// # Errors
    /// Where the host keeps it.
    fn reclaim<B: BitmapSlice>(&mut self, memory: &VolatileSlice<'_, B>) -> io::Result<()>;
}

/// Guest memory that the host kernel has back: [`guest_io::discard`].
#[derive(Clone, Copy, Debug, Default)]
pub struct HostMemory;

impl Reclaim for HostMemory {
    fn page_size(&self) -> u64 {
        guest_io::page_size() as u64
    }

    fn reclaim<B: BitmapSlice>(&mut self, memory: &VolatileSlice<'_, B>) -> io::Result<()> {
        guest_io::discard(memory)
    }
}
