//! Addresses for devices that are given none.

use virtio_net::Mac;

/// Addresses that have been given out, in QEMU's order: 52:54:00:12:34:56 is the first.
#[derive(Debug, Default)]
pub struct Macs {
    used: Vec<Mac>,
}

impl Macs {
    /// `given`, or the first address that no device has been given.
    pub fn assign(&mut self, given: Option<Mac>) -> Mac {
        let mac = given.unwrap_or_else(|| {
            let numbered = (FIRST..=u8::MAX).chain(0..FIRST);
            let mut macs = numbered.map(|last| Mac([0x52, 0x54, 0x00, 0x12, 0x34, last]));
            let free = macs.find(|mac| !self.used.contains(mac));
            free.unwrap_or(Mac([0x52, 0x54, 0x00, 0x12, 0x34, FIRST]))
        });
        if !self.used.contains(&mac) {
            self.used.push(mac);
        }
        mac
    }

    /// A device with the address `mac` is gone.
    pub fn release(&mut self, mac: Mac) {
        self.used.retain(|used| *used != mac);
    }
}

const FIRST: u8 = 0x56;

#[cfg(test)]
mod tests {
    use super::*;

    fn ending(last: u8) -> Mac {
        Mac([0x52, 0x54, 0x00, 0x12, 0x34, last])
    }

    #[test]
    fn addresses_are_given_out_once() {
        let mut macs = Macs::default();
        assert_eq!(macs.assign(None), ending(0x56));
        assert_eq!(macs.assign(Some(ending(0x57))), ending(0x57));
        assert_eq!(macs.assign(None), ending(0x58));
        macs.release(ending(0x56));
        assert_eq!(macs.assign(None), ending(0x56));
    }
}
