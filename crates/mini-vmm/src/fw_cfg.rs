//! Firmware configuration (QEMU's docs/specs/fw_cfg): items that whoever starts the machine selects
//! by number and reads byte by byte.

use std::sync::{Mutex, MutexGuard, PoisonError};

use vm_device::DevicePio;
use vm_device::bus::{PioAddress, PioAddressOffset};

/// The selector, 16 bits at the first port, and the data, 8 bits at the second.
#[derive(Debug)]
pub struct FwCfg {
    items: [(u16, Vec<u8>); 5],
    cursor: Mutex<Cursor>,
}

impl FwCfg {
    /// Number of ports.
    pub const SIZE: u16 = 2;

    /// The items of a machine with `memory` bytes of RAM and `cpus` processors.
    pub fn new(memory: u64, cpus: u8) -> Self {
        let cpus = u16::from(cpus).to_le_bytes().to_vec();
        Self {
            items: [
                (SIGNATURE, b"QEMU".to_vec()),
                (INTERFACE, TRADITIONAL.to_le_bytes().to_vec()),
                (RAM_SIZE, memory.to_le_bytes().to_vec()),
                (CPUS, cpus.clone()),
                (MOST_CPUS, cpus),
            ],
            cursor: Mutex::default(),
        }
    }

    /// The next byte of the selected item; zero after its end and where there is none.
    fn next(&self) -> u8 {
        let mut cursor = self.cursor();
        let item = self.items.iter().find(|(key, _)| *key == cursor.item);
        let byte = item.and_then(|(_, bytes)| bytes.get(cursor.offset));
        cursor.offset = cursor.offset.saturating_add(1);
        byte.copied().unwrap_or(0)
    }

    fn cursor(&self) -> MutexGuard<'_, Cursor> {
        self.cursor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DevicePio for FwCfg {
    fn pio_read(&self, _: PioAddress, offset: PioAddressOffset, data: &mut [u8]) {
        match data {
            [byte] if offset == DATA => *byte = self.next(),
            _ => data.fill(0xff),
        }
    }

    fn pio_write(&self, _: PioAddress, offset: PioAddressOffset, data: &[u8]) {
        if let (SELECTOR, &[low, high]) = (offset, data) {
            *self.cursor() = Cursor {
                item: u16::from_le_bytes([low, high]),
                offset: 0,
            };
        }
    }
}

#[derive(Debug, Default)]
struct Cursor {
    item: u16,
    offset: usize,
}

const SELECTOR: u16 = 0;
const DATA: u16 = 1;
const SIGNATURE: u16 = 0;
const INTERFACE: u16 = 1;
const RAM_SIZE: u16 = 3;
const CPUS: u16 = 5;
const MOST_CPUS: u16 = 15;
/// Revision of the interface: ports only.
const TRADITIONAL: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn item(device: &FwCfg, key: u16) -> [u8; 9] {
        device.pio_write(PioAddress(0), SELECTOR, &key.to_le_bytes());
        std::array::from_fn(|_| {
            let mut byte = [0xff];
            device.pio_read(PioAddress(0), DATA, &mut byte);
            byte[0]
        })
    }

    #[test]
    fn items_are_read_byte_by_byte_and_end_in_zeroes() {
        let device = FwCfg::new(128 << 20, 2);
        assert_eq!(item(&device, RAM_SIZE), [0, 0, 0, 8, 0, 0, 0, 0, 0]);
        assert_eq!(item(&device, SIGNATURE), *b"QEMU\0\0\0\0\0");
        assert_eq!(item(&device, MOST_CPUS), [2, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(item(&device, 0x4000), [0; 9]);
    }

    #[test]
    fn accesses_of_other_widths_have_no_effect() {
        let device = FwCfg::new(1 << 20, 1);
        item(&device, SIGNATURE);
        device.pio_write(PioAddress(0), SELECTOR, &[3]);
        device.pio_write(PioAddress(0), DATA, &[3, 0]);
        assert_eq!(
            device.next(),
            0,
            "the signature is still selected, at its end"
        );
        let mut word = [0; 2];
        device.pio_read(PioAddress(0), SELECTOR, &mut word);
        assert_eq!(word, [0xff; 2]);
    }
}
