//! Guest memory for tests: two regions that touch, dirty-tracked, with nothing after them.

use std::sync::Arc;

use virtio_device::AddressSpace;
use vm_memory::bitmap::{AtomicBitmap, Bitmap};
use vm_memory::{
    AtomicAccess, Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion,
};

/// Dirty-tracked guest memory.
pub type Memory = GuestMemoryMmap<AtomicBitmap>;

/// Where the second region begins: a buffer may lie across it.
pub const BOUNDARY: u64 = 16 << 20;
/// Where guest memory ends.
pub const END: u64 = 24 << 20;

/// Fresh guest memory: `0..BOUNDARY` and `BOUNDARY..END`.
pub fn memory() -> Arc<Memory> {
    let ranges = [
        (GuestAddress(0), BOUNDARY as usize),
        (GuestAddress(BOUNDARY), (END - BOUNDARY) as usize),
    ];
    Arc::new(Memory::from_ranges(&ranges).expect("some MiB of memory"))
}

/// Marks all of guest memory clean.
pub fn clear_dirty(memory: &Memory) {
    memory.iter().for_each(|region| bitmap(region).reset());
}

/// Whether the pages of all `len` bytes at `address` are marked dirty.
pub fn is_dirty(memory: &Memory, address: u64, len: u64) -> bool {
    let pages = (address..address + len).step_by(4096);
    pages
        .chain(len.checked_sub(1).map(|last| address + last))
        .all(|at| {
            let region = memory.find_region(GuestAddress(at)).expect("in memory");
            let offset = at - region.start_addr().0;
            bitmap(region).dirty_at(offset as usize)
        })
}

fn bitmap(region: &vm_memory::GuestRegionMmap<AtomicBitmap>) -> &AtomicBitmap {
    (**region).bitmap()
}

/// Guest memory as the driver reads and writes it. Panics outside of it: the driver model does not
/// make that mistake.
#[derive(Clone, Debug)]
pub struct Ram<AS>(pub AS);

impl<AS: AddressSpace> Ram<AS> {
    /// An atomic load; `address` is aligned.
    pub fn load<T: AtomicAccess>(&self, address: u64) -> T {
        let memory = self.0.memory();
        let order = std::sync::atomic::Ordering::Acquire;
        Bytes::load(&*memory, GuestAddress(address), order).expect("in memory")
    }

    /// An atomic store; `address` is aligned.
    pub fn store<T: AtomicAccess>(&self, address: u64, value: T) {
        let memory = self.0.memory();
        let order = std::sync::atomic::Ordering::Release;
        Bytes::store(&*memory, value, GuestAddress(address), order).expect("in memory");
    }

    /// `len` bytes at `address`.
    pub fn read(&self, address: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let memory = self.0.memory();
        Bytes::read_slice(&*memory, &mut bytes, GuestAddress(address)).expect("in memory");
        bytes
    }

    /// Writes `bytes` at `address`.
    pub fn write(&self, address: u64, bytes: &[u8]) {
        let memory = self.0.memory();
        Bytes::write_slice(&*memory, bytes, GuestAddress(address)).expect("in memory");
    }
}
