//! Absolute storage: where channel programs and their data are.

use virtio_device::AddressSpace;
use virtio_device::vm_memory::{Bytes, GuestAddress};

/// An address space, whatever its type, so that nothing else here depends on it.
pub(super) trait Storage: Send + Sync {
    /// Reads from `address` on, up to the end of `data` or of what is there. Returns how much.
    fn read(&self, address: u64, data: &mut [u8]) -> usize;

    /// Writes from `address` on, up to the end of `data` or of what is there. Returns how much.
    fn write(&self, address: u64, data: &[u8]) -> usize;
}

impl<A: AddressSpace> Storage for A {
    fn read(&self, address: u64, data: &mut [u8]) -> usize {
        Bytes::read(&*self.memory(), data, GuestAddress(address)).unwrap_or(0)
    }

    fn write(&self, address: u64, data: &[u8]) -> usize {
        Bytes::write(&*self.memory(), data, GuestAddress(address)).unwrap_or(0)
    }
}

/// `N` bytes at `address`; a program check where they are not there.
pub(super) fn fetch<const N: usize>(storage: &dyn Storage, address: u64) -> Result<[u8; N], Check> {
    let mut bytes = [0; N];
    match storage.read(address, &mut bytes) == N {
        true => Ok(bytes),
        false => Err(Check::Program),
    }
}

/// What the channel subsystem itself finds wrong with a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    /// The program is not one, or names storage that is not there.
    Program,
    /// The program does not end: it is stopped.
    ChannelControl,
}
