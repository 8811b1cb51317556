//! Accesses as a processor makes them: to memory, to device memory and to ports.

use std::sync::Arc;

use vm_device::bus::{MmioAddress, PioAddress};
use vm_device::device_manager::{IoManager, MmioManager, PioManager};
use vm_memory::{Bytes, GuestAddress, GuestAddressSpace};

use crate::memory::SharedMemory;

/// Where accesses go. What nothing answers reads as ones, and is not written.
pub(super) struct Access {
    pub(super) bus: Arc<IoManager>,
    pub(super) memory: SharedMemory,
}

impl Access {
    pub(super) fn input(&self, port: u16, width: usize) -> u32 {
        let mut bytes = [0; 4];
        let data = bytes.get_mut(..width).unwrap_or_default();
        if self.bus.pio_read(PioAddress(port), data).is_err() {
            data.fill(0xff);
        }
        u32::from_le_bytes(bytes)
    }

    pub(super) fn output(&self, port: u16, width: usize, value: u32) {
        let bytes = value.to_le_bytes();
        let data = bytes.get(..width).unwrap_or_default();
        let _ = self.bus.pio_write(PioAddress(port), data);
    }

    pub(super) fn read(&self, mut address: u64, mut data: &mut [u8]) {
        let memory = self.memory.memory();
        while !data.is_empty() {
            let done = match memory.read(data, GuestAddress(address)) {
                Ok(read) if read > 0 => read,
                _ => {
                    let size = access_size(address, data.len());
                    let part = data.get_mut(..size).unwrap_or_default();
                    if self.bus.mmio_read(MmioAddress(address), part).is_err() {
                        part.fill(0xff);
                    }
                    size
                }
            };
            address = address.wrapping_add(done as u64);
            data = data.get_mut(done..).unwrap_or_default();
        }
    }

    /// Whether it was for a device, some of it at least.
    pub(super) fn write(&self, mut address: u64, mut data: &[u8]) -> bool {
        let (memory, mut heard) = (self.memory.memory(), false);
        while !data.is_empty() {
            let done = match memory.write(data, GuestAddress(address)) {
                Ok(written) if written > 0 => written,
                _ => {
                    let size = access_size(address, data.len());
                    let part = data.get(..size).unwrap_or_default();
                    let _ = self.bus.mmio_write(MmioAddress(address), part);
                    heard = true;
                    size
                }
            };
            address = address.wrapping_add(done as u64);
            data = data.get(done..).unwrap_or_default();
        }
        heard
    }
}

/// The widest access that a processor makes at `address` with one instruction, aligned.
fn access_size(address: u64, length: usize) -> usize {
    let fits = |size: &usize| *size <= length && address.is_multiple_of(*size as u64);
    [8, 4, 2].into_iter().find(fits).unwrap_or(1)
}
