//! How much a disk may do in a second.

use std::io::{self, ErrorKind};
use std::num::NonZeroU64;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A limit to a rate, as QEMU's `throttling.*` options have it: so many units in a second in the
/// long run, and more than that for a while.
///
/// Where no burst is given, what was not used in the last tenth of a second may be caught up with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    average: NonZeroU64,
    burst: Option<Burst>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Burst {
    rate: NonZeroU64,
    seconds: NonZeroU64,
}

impl Rate {
    /// `average` units in a second.
    pub fn new(average: NonZeroU64) -> Self {
        Self {
            average,
            burst: None,
        }
    }

    /// After a time of rest up to `rate` units in a second, for `seconds` seconds.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for a rate below the average.
    pub fn burst(self, rate: NonZeroU64, seconds: NonZeroU64) -> io::Result<Self> {
        if rate < self.average {
            return Err(ErrorKind::InvalidInput.into());
        }
        Ok(Self {
            burst: Some(Burst { rate, seconds }),
            ..self
        })
    }
}

/// The limits of one disk. The default has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Bytes read and written.
    pub bytes: Option<Rate>,
    /// Requests.
    pub operations: Option<Rate>,
    /// A request of more bytes than this counts as several.
    pub operation_size: Option<NonZeroU64>,
}

/// Tells the workers of one disk when they may begin a request.
///
/// A leaky bucket for each limit: a request is let in as long as no bucket overflows, and then
/// poured into all of them. So its size need not be known before, and one of any size gets in.
#[derive(Debug)]
pub struct Throttle {
    start: Instant,
    operation_size: Option<NonZeroU64>,
    buckets: Mutex<Buckets>,
}

#[derive(Debug)]
struct Buckets {
    bytes: Vec<Bucket>,
    operations: Vec<Bucket>,
}

/// A bucket that leaks `rate` units in a second. Its level is kept as the time when it would be
/// empty; that and `depth`, its size, are nanoseconds.
#[derive(Debug)]
struct Bucket {
    rate: NonZeroU64,
    depth: u64,
    empty_at: u64,
}

impl Throttle {
    /// A throttle for `rates`; `None` where there is nothing to limit.
    pub fn new(rates: Rates) -> Option<Self> {
        let Rates {
            bytes,
            operations,
            operation_size,
        } = rates;
        (bytes.is_some() || operations.is_some()).then(|| Self {
            start: Instant::now(),
            operation_size,
            buckets: Mutex::new(Buckets {
                bytes: buckets(bytes),
                operations: buckets(operations),
            }),
        })
    }

    /// How long to wait before a request may begin; `None` if it may now.
    pub fn delay(&self) -> Option<Duration> {
        self.delay_at(self.now())
    }

    /// Counts a request that transfers so many bytes.
    pub fn charge(&self, bytes: u64) {
        self.charge_at(self.now(), bytes);
    }

    fn delay_at(&self, now: u64) -> Option<Duration> {
        let delay = self.with(|buckets| buckets.all().map(|bucket| bucket.delay(now)).max());
        delay.filter(|&delay| delay > 0).map(Duration::from_nanos)
    }

    fn charge_at(&self, now: u64, bytes: u64) {
        let size = self.operation_size.map_or(u64::MAX, NonZeroU64::get);
        self.with(
            |Buckets {
                 bytes: by_bytes,
                 operations,
             }| {
                by_bytes
                    .iter_mut()
                    .for_each(|bucket| bucket.pour(now, bytes));
                let count = bytes.div_ceil(size).max(1);
                operations
                    .iter_mut()
                    .for_each(|bucket| bucket.pour(now, count));
            },
        );
    }

    fn with<T>(&self, f: impl FnOnce(&mut Buckets) -> T) -> T {
        // Whoever panicked with the lock has left levels, be they a request too low.
        f(&mut self.buckets.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Nanoseconds since the start: more than five centuries of them.
    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }
}

impl Buckets {
    fn all(&self) -> impl Iterator<Item = &Bucket> {
        self.bytes.iter().chain(&self.operations)
    }
}

/// The bucket of the average, and that which keeps a burst of more than a second to its rate.
fn buckets(rate: Option<Rate>) -> Vec<Bucket> {
    let Some(Rate { average, burst }) = rate else {
        return Vec::new();
    };
    let bucket = |rate, depth| Bucket {
        rate,
        depth,
        empty_at: 0,
    };
    match burst {
        None => vec![bucket(average, CATCH_UP)],
        Some(Burst { rate, seconds }) => {
            let units = u128::from(rate.get()) * u128::from(seconds.get());
            let mut buckets = vec![bucket(average, nanoseconds(units, average))];
            if seconds.get() > 1 {
                buckets.push(bucket(rate, CATCH_UP));
            }
            buckets
        }
    }
}

impl Bucket {
    fn pour(&mut self, now: u64, units: u64) {
        let level = nanoseconds(units.into(), self.rate);
        self.empty_at = self.empty_at.max(now).saturating_add(level);
    }

    fn delay(&self, now: u64) -> u64 {
        let level = self.empty_at.saturating_sub(now);
        level.saturating_sub(self.depth)
    }
}

/// How long `units` take at a rate.
fn nanoseconds(units: u128, rate: NonZeroU64) -> u64 {
    let time = units.saturating_mul(SECOND.into()) / u128::from(rate.get());
    u64::try_from(time).unwrap_or(u64::MAX)
}

const SECOND: u64 = 1_000_000_000;
/// Nanoseconds.
const CATCH_UP: u64 = SECOND / 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn number(number: u64) -> NonZeroU64 {
        NonZeroU64::new(number).unwrap()
    }

    /// Requests of 4 KiB that are let in during so many seconds, beginning at `start` seconds, by
    /// somebody who asks for more all the time.
    fn count(throttle: &Throttle, start: u64, seconds: u64) -> u64 {
        let (mut now, end) = (start * SECOND, (start + seconds) * SECOND);
        for count in 0.. {
            now += throttle
                .delay_at(now)
                .map_or(0, |delay| delay.as_nanos() as u64);
            if now >= end {
                return count;
            }
            throttle.charge_at(now, 4096);
        }
        unreachable!("a throttle that never says wait")
    }

    fn operations(rate: Rate) -> Throttle {
        let operations = Some(rate);
        Throttle::new(Rates {
            operations,
            ..Rates::default()
        })
        .unwrap()
    }

    #[test]
    fn no_limits_need_no_throttle() {
        assert!(Throttle::new(Rates::default()).is_none());
        let operation_size = Some(number(4096));
        assert!(
            Throttle::new(Rates {
                operation_size,
                ..Rates::default()
            })
            .is_none()
        );
    }

    #[test]
    fn the_average_holds_over_time() {
        let throttle = operations(Rate::new(number(100)));
        let first = count(&throttle, 0, 10);
        assert!((1000..=1012).contains(&first), "{first}");
        assert_eq!(count(&throttle, 10, 10), 1000);
    }

    #[test]
    fn bytes_and_large_requests_count() {
        let bytes = Some(Rate::new(number(4096 * 50)));
        let throttle = Throttle::new(Rates {
            bytes,
            ..Rates::default()
        })
        .unwrap();
        let first = count(&throttle, 0, 10);
        assert!((500..=506).contains(&first), "{first}");
        let rates = Rates {
            bytes: None,
            operations: Some(Rate::new(number(100))),
            operation_size: Some(number(1000)),
        };
        let count = count(&Throttle::new(rates).unwrap(), 0, 10);
        assert!((200..=203).contains(&count), "{count}");
    }

    #[test]
    fn a_burst_is_spent_and_comes_back() {
        let rate = Rate::new(number(100))
            .burst(number(500), number(1))
            .unwrap();
        let throttle = operations(rate);
        let first = count(&throttle, 0, 1);
        assert!((600..=602).contains(&first), "{first}");
        assert_eq!(count(&throttle, 1, 10), 1000);
        let rested = count(&throttle, 100, 1);
        assert!((600..=602).contains(&rested), "{rested}");
    }

    #[test]
    fn a_long_burst_keeps_to_its_rate() {
        let rate = Rate::new(number(100))
            .burst(number(500), number(4))
            .unwrap();
        let throttle = operations(rate);
        let seconds: Vec<u64> = (0..7).map(|second| count(&throttle, second, 1)).collect();
        assert!((500..=552).contains(&seconds[0]), "{seconds:?}");
        assert!(seconds[1..4].iter().all(|&n| n == 500), "{seconds:?}");
        assert!((99..=101).contains(&seconds[6]), "{seconds:?}");
    }

    #[test]
    fn extremes_do_not_overflow() {
        let throttle = operations(Rate::new(number(1)));
        throttle.charge_at(u64::MAX, u64::MAX);
        throttle.charge_at(u64::MAX, u64::MAX);
        assert_eq!(throttle.delay_at(u64::MAX), None);
        let rate = Rate::new(number(1)).burst(NonZeroU64::MAX, NonZeroU64::MAX);
        let throttle = operations(rate.unwrap());
        throttle.charge_at(0, u64::MAX);
        assert_eq!(throttle.delay_at(0), None);
        assert!(Rate::new(number(2)).burst(number(1), number(1)).is_err());
    }
}
