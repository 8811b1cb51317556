//! Indicators: bits in guest memory that tell a driver why it is interrupted (section 4.3.2.6).

use guest_io::Area;
use virtio_device::GuestView;
use virtio_device::vm_memory::{GuestMemory, Permissions};

/// How a driver wants to be told of used buffers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum QueueIndicators {
    /// Not at all.
    #[default]
    None,
    /// By bits of a 64-bit word and I/O interruptions of the subchannel.
    Classic {
        /// Guest address of the word.
        address: u64,
    },
    /// By adapter interruptions.
    TwoStage(TwoStage),
}

/// Where two-stage indicators are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TwoStage {
    /// Guest address of the byte that says that some bit is set. Devices may share it.
    pub summary: u64,
    /// Guest address of the byte with bit number 0.
    pub address: u64,
    /// Number of queue 0's bit; those of the other queues follow. The leftmost bit of a byte has
    /// the lowest number.
    pub bit: u64,
    /// I/O-interruption subclass, 0 to 7.
    pub isc: u8,
}

/// Most queues that classic indicators have bits for.
pub(crate) const CLASSIC_QUEUES: u16 = 64;

/// Sets the bit numbered `bit`, from the right, of the 64-bit word at `address`. False where there
/// is no memory (any more).
pub(crate) fn set_in_word<M: GuestMemory>(memory: &M, address: u64, bit: u16) -> bool {
    // The rightmost byte of a big-endian word comes last.
    let byte = u64::from(7 - bit / 8 % 8);
    let address = address.checked_add(byte);
    address.is_some_and(|address| set_bits(memory, address, 1 << (bit % 8)).is_some())
}

/// Whether the 64-bit word at `address` is guest memory.
pub(crate) fn is_word<M: GuestMemory>(memory: &M, address: u64) -> bool {
    GuestView::new(memory).check(address, 8, Permissions::ReadWrite)
}

impl TwoStage {
    /// Sets queue `queue`'s bit and then the summary. True if the summary was not set: the driver
    /// does not know yet, and has to be interrupted (section 4.3.3.1.2.1).
    pub(crate) fn set<M: GuestMemory>(&self, memory: &M, queue: u16) -> bool {
        let Some((address, bits)) = self.place(queue) else {
            return false;
        };
        set_bits(memory, address, bits).is_some() && set_bits(memory, self.summary, 1) == Some(0)
    }

    /// Whether all of it is guest memory, for a device of `queues` queues.
    pub(crate) fn is_valid<M: GuestMemory>(&self, memory: &M, queues: u16) -> bool {
        let mut view = GuestView::new(memory);
        let mut there = |address| view.check(address, 1, Permissions::ReadWrite);
        let mut bits = (0..queues).map(|queue| self.place(queue));
        self.isc < 8 && there(self.summary) && bits.all(|bit| bit.is_some_and(|(at, _)| there(at)))
    }

    /// Guest address of the byte that has the bit of `queue`, and the bit in it.
    fn place(&self, queue: u16) -> Option<(u64, u8)> {
        let bit = self.bit.checked_add(queue.into())?;
        Some((self.address.checked_add(bit / 8)?, 0x80 >> (bit % 8)))
    }
}

fn set_bits<M: GuestMemory>(memory: &M, address: u64, bits: u8) -> Option<u8> {
    let byte = GuestView::new(memory).slice(address, 1).ok()?;
    Area::<_>::new(&byte)?.set_bits(0, bits)
}

#[cfg(test)]
mod tests {
    use virtio_device::vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

    use super::*;

    const AT: u64 = 0x1000;
    const SUMMARY: u64 = 0x8;

    fn memory() -> GuestMemoryMmap<()> {
        GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x2000)]).expect("guest memory")
    }

    fn read<const N: usize>(memory: &GuestMemoryMmap<()>, at: u64) -> [u8; N] {
        let mut bytes = [0; N];
        let read = memory.read_slice(&mut bytes, GuestAddress(at));
        read.expect("in memory");
        bytes
    }

    fn two_stage(bit: u64) -> TwoStage {
        let (summary, address, isc) = (SUMMARY, AT, 3);
        TwoStage {
            summary,
            address,
            bit,
            isc,
        }
    }

    #[test]
    fn classic_bits_are_those_of_a_big_endian_word() {
        for bit in 0..CLASSIC_QUEUES {
            let memory = memory();
            assert!(set_in_word(&memory, AT, bit));
            assert_eq!(u64::from_be_bytes(read(&memory, AT)), 1 << bit, "bit {bit}");
        }
        let memory = memory();
        assert!(set_in_word(&memory, AT, 0) && set_in_word(&memory, AT, 9));
        assert_eq!(u64::from_be_bytes(read(&memory, AT)), 0x201);
    }

    #[test]
    fn two_stage_bits_are_counted_from_the_left() {
        let memory = memory();
        assert!(two_stage(0x41).set(&memory, 0));
        assert!(!two_stage(0x41).set(&memory, 6), "the summary is set");
        assert!(!two_stage(0x41).set(&memory, 7));
        assert_eq!(read(&memory, AT + 8), [0x41, 0x80]);
        assert_eq!(read(&memory, SUMMARY), [1]);
    }

    /// Other devices share a summary byte, and drivers other bits of it.
    #[test]
    fn any_bit_of_the_summary_spares_the_interruption() {
        let memory = memory();
        memory
            .write_obj(0x40_u8, GuestAddress(SUMMARY))
            .expect("in memory");
        assert!(!two_stage(0).set(&memory, 0));
        assert_eq!(read(&memory, SUMMARY), [0x41]);
    }

    #[test]
    fn what_is_not_guest_memory_is_neither_valid_nor_touched() {
        let memory = memory();
        assert!(is_word(&memory, 0x1ff8) && !is_word(&memory, 0x1ff9));
        assert!(!is_word(&memory, u64::MAX) && !set_in_word(&memory, u64::MAX, 0));
        assert!(two_stage(0).is_valid(&memory, 3));
        assert!(two_stage(0x7ffd).is_valid(&memory, 3));
        let wrong = [
            two_stage(0x7ffe),
            two_stage(u64::MAX),
            TwoStage {
                address: u64::MAX - 1,
                ..two_stage(64)
            },
            TwoStage {
                summary: 0x2000,
                ..two_stage(0)
            },
            TwoStage {
                isc: 8,
                ..two_stage(0)
            },
        ];
        for wrong in wrong {
            assert!(!wrong.is_valid(&memory, 3), "{wrong:?}");
        }
        for wrong in &wrong[..3] {
            assert!(!wrong.set(&memory, 2), "{wrong:?}");
        }
        assert_eq!(read(&memory, SUMMARY), [0], "no summary without a bit");
    }
}
