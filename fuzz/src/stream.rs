//! Inputs without a fuzzer: always the same ones, as many as are asked for.

/// An endless stream of inputs of up to 4 KiB.
#[derive(Clone, Debug)]
pub struct Stream(u64);

impl Stream {
    /// The stream that belongs to `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed ^ SEED)
    }

    /// xorshift64.
    fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Small numbers and edges are more likely than others.
    fn byte(&mut self) -> u8 {
        let number = self.number();
        match number & 7 {
            0 => 0,
            1 => 0xff,
            2 | 3 => (number >> 8) as u8 & 7,
            _ => (number >> 8) as u8,
        }
    }
}

impl Iterator for Stream {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let len = 1 << (self.number() % 13);
        Some((0..len).map(|_| self.byte()).collect())
    }
}

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
