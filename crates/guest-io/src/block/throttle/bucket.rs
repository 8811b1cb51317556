//! Leaky buckets.
//!
//! A request may begin as long as no bucket that it concerns overflows, and is then poured into all of
//! them. So one of any size gets in, and those after it wait the longer.

use std::num::NonZeroU64;

use super::rate::{Burst, Limit, Rate, Rates};
use crate::block::Direction;

/// The buckets of a group.
#[derive(Debug)]
pub(super) struct Buckets {
    all: Vec<Bucket>,
    operation_size: Option<NonZeroU64>,
}

/// What a bucket is filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Bytes,
    Operations,
}

/// A bucket that leaks `rate` units in a second. Its level is kept as the time when it would be
/// empty; that and `depth`, its size, are nanoseconds.
#[derive(Debug)]
struct Bucket {
    unit: Unit,
    /// The requests that it concerns, if not all.
    only: Option<Direction>,
    rate: NonZeroU64,
    depth: u64,
    empty_at: u64,
}

impl Buckets {
    /// Empty ones.
    pub(super) fn new(rates: Rates) -> Self {
        let mut all = Vec::new();
        let units = [
            (Unit::Bytes, rates.bytes),
            (Unit::Operations, rates.operations),
        ];
        for (unit, limit) in units {
            let limits = limit.map_or([None; 3], Limit::rates);
            for (only, rate) in WHOSE.into_iter().zip(limits) {
                let sizes = rate.into_iter().flat_map(sizes);
                all.extend(sizes.map(|(rate, depth)| Bucket {
                    unit,
                    only,
                    rate,
                    depth,
                    empty_at: 0,
                }));
            }
        }
        Self {
            all,
            operation_size: rates.operation_size,
        }
    }

    /// From when on a request may begin, in nanoseconds.
    pub(super) fn due(&self, direction: Direction) -> u64 {
        let concerned = self.all.iter().filter(|bucket| bucket.concerns(direction));
        let dues = concerned.map(|bucket| bucket.empty_at.saturating_sub(bucket.depth));
        dues.max().unwrap_or(0)
    }

    /// Counts a request that begins at `now` and is of so many bytes.
    pub(super) fn charge(&mut self, direction: Direction, bytes: u64, now: u64) {
        let size = self.operation_size.map_or(u64::MAX, NonZeroU64::get);
        let concerned = self.all.iter_mut();
        for bucket in concerned.filter(|bucket| bucket.concerns(direction)) {
            match bucket.unit {
                Unit::Bytes => bucket.pour((bytes, 1), now),
                Unit::Operations => bucket.pour((bytes.max(size), size), now),
            }
        }
    }
}

impl Bucket {
    fn concerns(&self, direction: Direction) -> bool {
        self.only.is_none_or(|only| only == direction)
    }

    /// Adds a number of units, a fraction.
    fn pour(&mut self, (units, of): (u64, u64), now: u64) {
        let level = nanoseconds(units.into(), u128::from(of) * u128::from(self.rate.get()));
        self.empty_at = self.empty_at.max(now).saturating_add(level);
    }
}

/// Rates and depths of the bucket of the average, and of that which keeps a burst of more than a
/// second to its rate.
fn sizes(rate: Rate) -> impl Iterator<Item = (NonZeroU64, u64)> {
    let average = rate.average();
    let (depth, second) = match rate.bursts() {
        None => (CATCH_UP, None),
        Some(Burst { rate, seconds }) => {
            let units = u128::from(rate.get()) * u128::from(seconds.get());
            let depth = nanoseconds(units, average.get().into());
            (depth, (seconds.get() > 1).then_some((rate, CATCH_UP)))
        }
    };
    [(average, depth)].into_iter().chain(second)
}

/// How long `units` take at a rate, which is not 0.
fn nanoseconds(units: u128, rate: u128) -> u64 {
    let time = units.saturating_mul(SECOND.into()) / rate;
    u64::try_from(time).unwrap_or(u64::MAX)
}

/// In the order of [`Limit::rates`].
const WHOSE: [Option<Direction>; 3] = [None, Some(Direction::Read), Some(Direction::Write)];
const SECOND: u64 = 1_000_000_000;
/// Nanoseconds.
const CATCH_UP: u64 = SECOND / 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn number(number: u64) -> NonZeroU64 {
        NonZeroU64::new(number).unwrap()
    }

    /// Reads of 4 KiB that are let in during so many seconds, beginning at `start` seconds, by
    /// somebody who asks for more all the time.
    fn count(buckets: &mut Buckets, start: u64, seconds: u64) -> u64 {
        let (mut now, end) = (start * SECOND, (start + seconds) * SECOND);
        for count in 0.. {
            now = now.max(buckets.due(Direction::Read));
            if now >= end {
                return count;
            }
            buckets.charge(Direction::Read, 4096, now);
        }
        unreachable!("buckets that never say wait")
    }

    fn operations(rate: Rate) -> Buckets {
        Buckets::new(Rates {
            operations: Some(Limit::Total(rate)),
            ..Rates::default()
        })
    }

    #[test]
    fn the_average_holds_over_time() {
        let mut buckets = operations(Rate::new(number(100)));
        let first = count(&mut buckets, 0, 10);
        assert!((1000..=1012).contains(&first), "{first}");
        assert_eq!(count(&mut buckets, 10, 10), 1000);
    }

    #[test]
    fn bytes_and_large_requests_count() {
        let mut buckets = Buckets::new(Rates {
            bytes: Some(Limit::Total(Rate::new(number(4096 * 50)))),
            ..Rates::default()
        });
        let first = count(&mut buckets, 0, 10);
        assert!((500..=506).contains(&first), "{first}");
        for (size, expected) in [(1024, 250), (4000, 976), (4096, 1000), (1 << 20, 1000)] {
            let mut buckets = Buckets::new(Rates {
                bytes: None,
                operations: Some(Limit::Total(Rate::new(number(100)))),
                operation_size: Some(number(size)),
            });
            let count = count(&mut buckets, 0, 10);
            assert!(
                (expected..=expected + 11).contains(&count),
                "{size} {count}"
            );
        }
    }

    #[test]
    fn each_direction_has_its_own() {
        let write = Some(Rate::new(number(10)));
        let mut buckets = Buckets::new(Rates {
            operations: Some(Limit::Each { read: None, write }),
            ..Rates::default()
        });
        for _ in 0..2 {
            buckets.charge(Direction::Read, 4096, 0);
            buckets.charge(Direction::Write, 4096, 0);
        }
        assert_eq!(buckets.due(Direction::Read), 0);
        assert_eq!(buckets.due(Direction::Write), SECOND / 10);
    }

    #[test]
    fn a_burst_is_spent_and_comes_back() {
        let rate = Rate::new(number(100)).burst(number(500), number(1));
        let mut buckets = operations(rate.unwrap());
        let first = count(&mut buckets, 0, 1);
        assert!((600..=602).contains(&first), "{first}");
        assert_eq!(count(&mut buckets, 1, 10), 1000);
        let rested = count(&mut buckets, 100, 1);
        assert!((600..=602).contains(&rested), "{rested}");
    }

    #[test]
    fn a_long_burst_keeps_to_its_rate() {
        let rate = Rate::new(number(100)).burst(number(500), number(4));
        let mut buckets = operations(rate.unwrap());
        let seconds: Vec<u64> = (0..7).map(|at| count(&mut buckets, at, 1)).collect();
        assert!((500..=552).contains(&seconds[0]), "{seconds:?}");
        assert!(seconds[1..4].iter().all(|&n| n == 500), "{seconds:?}");
        assert!((99..=101).contains(&seconds[6]), "{seconds:?}");
    }

    #[test]
    fn extremes_do_not_overflow() {
        let mut buckets = operations(Rate::new(number(1)));
        buckets.charge(Direction::Read, u64::MAX, u64::MAX);
        assert_eq!(buckets.due(Direction::Read), u64::MAX - CATCH_UP);
        let rate = Rate::new(number(1)).burst(NonZeroU64::MAX, NonZeroU64::MAX);
        let mut buckets = operations(rate.unwrap());
        buckets.operation_size = Some(number(1));
        buckets.charge(Direction::Read, u64::MAX, 0);
        assert_eq!(buckets.due(Direction::Read), SECOND - CATCH_UP);
        assert!(Rate::new(number(2)).burst(number(1), number(1)).is_err());
    }
}
