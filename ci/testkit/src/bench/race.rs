//! Contenders that take turns, so that what disturbs the machine disturbs all.

use std::time::Instant;

/// Does a round's work.
pub type Contender<'a> = &'a mut dyn FnMut(&[u64]);

/// Has each contender do the same `work`, round by round. Returns items of work per second: the
/// median of `rounds` rounds after a first one, which warms up. They take turns at being first, too:
/// the others find in the processor's caches what the first has brought there.
pub fn race<const N: usize>(
    rounds: usize,
    mut work: impl FnMut() -> Vec<u64>,
    contenders: [Contender<'_>; N],
) -> [f64; N] {
    let mut rates = [const { Vec::new() }; N];
    for round in 0..=rounds {
        let items = work();
        for turn in 0..N {
            let which = (round + turn) % N;
            let start = Instant::now();
            contenders[which](&items);
            if round > 0 {
                rates[which].push(items.len() as f64 / start.elapsed().as_secs_f64());
            }
        }
    }
    rates.map(|mut rates| {
        rates.sort_by(f64::total_cmp);
        rates[rounds / 2]
    })
}

/// Numbers that are random enough for places on a disk (xorshift).
#[derive(Debug)]
pub struct Random(u64);

impl Default for Random {
    fn default() -> Self {
        Self(1)
    }
}

impl Random {
    /// `count` numbers from 0 to `end`, without it.
    pub fn numbers(&mut self, count: usize, end: u64) -> Vec<u64> {
        (0..count).map(|_| self.next() % end).collect()
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
