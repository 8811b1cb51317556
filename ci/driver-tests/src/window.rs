//! A range of registers, as a driver maps it.

use std::sync::Arc;

use vm_device::DeviceMmio;
use vm_device::bus::MmioAddress;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Registers from `start` on in what a [`DeviceMmio`] serves. Every access is an exit.
#[derive(Clone)]
pub struct Window {
    device: Arc<dyn DeviceMmio + Send + Sync>,
    base: u64,
    start: u64,
    len: u64,
}

impl Window {
    /// `len` bytes from `start` on, of a device registered at guest address `base`.
    pub fn new(device: Arc<dyn DeviceMmio + Send + Sync>, base: u64, start: u64, len: u64) -> Self {
        Self {
            device,
            base,
            start,
            len,
        }
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// One access of the width of `T`.
    pub fn read<T: FromBytes + IntoBytes>(&self, offset: u64) -> T {
        let mut value = T::new_zeroed();
        let at = self.at(offset, size_of::<T>());
        self.device
            .mmio_read(MmioAddress(self.base), at, value.as_mut_bytes());
        value
    }

    /// One access of the width of `T`.
    pub fn write<T: IntoBytes + Immutable>(&self, offset: u64, value: T) {
        let at = self.at(offset, size_of::<T>());
        self.device
            .mmio_write(MmioAddress(self.base), at, value.as_bytes());
    }

    fn at(&self, offset: u64, len: usize) -> u64 {
        assert!(
            offset + len as u64 <= self.len,
            "the driver left its window"
        );
        self.start + offset
    }
}
