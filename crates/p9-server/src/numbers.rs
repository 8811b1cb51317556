//! A hash of numbers that a client chooses.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Hashes numbers of 32 bits by a multiplication with secrets: a client that does not know them cannot
/// choose numbers that meet, and it costs a tenth of what strings would need.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numbers {
    /// What a number is first mixed with, and then multiplied by.
    secrets: [u64; 2],
}

/// See [`Numbers`].
#[derive(Debug)]
pub(crate) struct NumberHasher {
    numbers: Numbers,
    hash: u64,
}

impl Numbers {
    pub(crate) fn new() -> Self {
        let random = RandomState::new();
        Self {
            secrets: [0, 1].map(|which| random.hash_one(which)),
        }
    }
}

impl BuildHasher for Numbers {
    type Hasher = NumberHasher;

    fn build_hasher(&self) -> NumberHasher {
        NumberHasher {
            numbers: *self,
            hash: 0,
        }
    }
}

impl Hasher for NumberHasher {
    fn write_u32(&mut self, number: u32) {
        let [mix, factor] = self.numbers.secrets;
        let number = self.hash ^ u64::from(number) ^ mix;
        // Both halves: the upper bits depend on all of the number, the lower ones differ for all.
        let product = u128::from(number) * u128::from(factor);
        self.hash = product as u64 ^ (product >> 64) as u64;
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32((*byte).into()));
    }

    fn finish(&self) -> u64 {
        self.hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Neither numbers in a row nor those that differ in a few bits only fall into few places.
    #[test]
    fn numbers_are_spread() {
        let numbers = Numbers {
            secrets: [0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03],
        };
        for shift in [0, 4, 16, 20] {
            let mut places = [0_u32; 64];
            for number in 0..1 << 12_u32 {
                let hash = numbers.hash_one(number << shift);
                places[(hash & 63) as usize] += 1;
            }
            let most = places.iter().max();
            assert!(most < Some(&256), "{most:?} of 64 on average, by {shift}");
        }
    }
}
