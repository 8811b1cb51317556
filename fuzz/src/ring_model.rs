//! What a ring must have done, told from guest memory alone.

use std::collections::VecDeque;

use testkit::{AVAIL, NEXT, Ram, Space, USED, WRITE};
use virtio_device::{Ring, RingConfig, RingFormat};

/// A chain that the device has, as the driver would know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) id: u16,
    descriptors: u16,
}

/// Follows a ring from outside: which ids the device has, and what it must have used.
#[derive(Debug)]
pub(crate) struct Model {
    config: RingConfig,
    in_order: bool,
    /// In the order of availability; with a length once it was pushed.
    taken: VecDeque<(Taken, Option<u32>)>,
    /// To be found in memory after the next publication.
    used: Vec<(Taken, u32)>,
    /// Position, and wrap counter of a packed ring, of the first of `used`.
    at: (u16, bool),
}

impl Model {
    pub(crate) fn of(ring: &Ring) -> Self {
        let used = ring.position().used;
        let at = match ring.config().format() {
            RingFormat::Split => (used, false),
            RingFormat::Packed => (used & !WRAP, used & WRAP != 0),
        };
        Self {
            config: *ring.config(),
            in_order: ring
                .config()
                .features
                .contains(virtio_device::Features::IN_ORDER),
            taken: VecDeque::new(),
            used: Vec::new(),
            at,
        }
    }

    /// Chains that the device has not given back.
    pub(crate) fn in_flight(&self) -> usize {
        self.taken.len()
    }

    /// The chain that a pop takes, if it takes one: read before it does.
    pub(crate) fn next(&self, ring: &Ring, ram: &Ram<Space>) -> Taken {
        let position = ring.position().avail;
        match self.config.format() {
            RingFormat::Split => {
                let slot = u64::from(position % self.config.size.get());
                Taken {
                    id: u16::from_le(ram.load(self.config.driver + 4 + 2 * slot)),
                    descriptors: 1,
                }
            }
            RingFormat::Packed => self.next_packed(position & !WRAP, ram),
        }
    }

    /// The id is that of the last descriptor (section 2.8.6).
    fn next_packed(&self, position: u16, ram: &Ram<Space>) -> Taken {
        let size = self.config.size.get();
        let mut taken = Taken {
            id: 0,
            descriptors: 0,
        };
        for i in 0..size {
            let (id, _, flags) = self.packed(ram, (position + i) % size);
            taken = Taken {
                id,
                descriptors: i + 1,
            };
            if flags & NEXT == 0 {
                break;
            }
        }
        taken
    }

    /// The device popped it.
    pub(crate) fn take(&mut self, taken: Taken) {
        let size = self.config.size.get();
        assert!(
            taken.id < size || self.config.format() == RingFormat::Packed,
            "head {}",
            taken.id
        );
        let twice = self.taken.iter().any(|(other, _)| other.id == taken.id);
        assert!(!twice, "the device took {} twice", taken.id);
        self.taken.push_back((taken, None));
        let descriptors = self
            .taken
            .iter()
            .map(|(taken, _)| u32::from(taken.descriptors));
        assert!(
            descriptors.sum::<u32>() <= size.into(),
            "descriptors in flight twice"
        );
    }

    /// The device pushed it.
    pub(crate) fn push(&mut self, taken: Taken, len: u32) {
        let entry = self.taken.iter().position(|(other, _)| *other == taken);
        let entry = entry.expect("what was popped is there");
        if !self.in_order {
            self.taken.remove(entry);
            self.used.push((taken, len));
            return;
        }
        self.taken[entry].1 = Some(len);
        while let Some(&(taken, Some(len))) = self.taken.front() {
            self.taken.pop_front();
            self.used.push((taken, len));
        }
    }

    /// Compares memory with what was used since the last call; only moves on where somebody else
    /// may have written there.
    pub(crate) fn check(&mut self, ring: &Ring, ram: &Ram<Space>, compare: bool) {
        let used = std::mem::take(&mut self.used);
        let any = !used.is_empty();
        let lap: usize = used
            .iter()
            .map(|(taken, _)| usize::from(taken.descriptors))
            .sum();
        let compare = compare && lap <= usize::from(self.config.size.get());
        for (taken, len) in used {
            if compare {
                self.compare(taken, len, ram);
            }
            self.advance(taken);
        }
        let wrap = if self.at.1 { WRAP } else { 0 };
        assert_eq!(ring.position().used, self.at.0 | wrap, "used position");
        if compare && any && self.config.format() == RingFormat::Split {
            let index: u16 = ram.load(self.config.device + 2);
            assert_eq!(u16::from_le(index), self.at.0, "used index in memory");
        }
    }

    fn compare(&self, taken: Taken, len: u32, ram: &Ram<Space>) {
        match self.config.format() {
            RingFormat::Split => {
                let slot = u64::from(self.at.0 % self.config.size.get());
                let at = self.config.device + 4 + 8 * slot;
                let entry: (u32, u32) = (ram.load(at), ram.load(at + 4));
                assert_eq!(
                    entry,
                    (u32::from(taken.id).to_le(), len.to_le()),
                    "used entry"
                );
            }
            RingFormat::Packed => {
                let (id, written, flags) = self.packed(ram, self.at.0);
                let bits = if self.at.1 { AVAIL | USED } else { 0 };
                assert_eq!(
                    (id, flags & (AVAIL | USED)),
                    (taken.id, bits),
                    "used descriptor"
                );
                let written = if flags & WRITE == 0 { 0 } else { written };
                assert_eq!(written, len, "used length");
            }
        }
    }

    fn advance(&mut self, taken: Taken) {
        let (at, wrap) = self.at;
        self.at = match self.config.format() {
            RingFormat::Split => (at.wrapping_add(1), wrap),
            RingFormat::Packed => {
                let (end, size) = (at + taken.descriptors, self.config.size.get());
                if end >= size {
                    (end - size, !wrap)
                } else {
                    (end, wrap)
                }
            }
        };
    }

    /// Id, length and flags of a packed descriptor.
    fn packed(&self, ram: &Ram<Space>, index: u16) -> (u16, u32, u16) {
        let word: u64 = ram.load(self.config.descriptor + 16 * u64::from(index) + 8);
        let word = u64::from_le(word);
        ((word >> 32) as u16, word as u32, (word >> 48) as u16)
    }
}

const WRAP: u16 = 1 << 15;
