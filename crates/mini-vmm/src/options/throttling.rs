//! How much disks may do in a second: limits, by the names that `-drive` has for them below
//! `throttling.`, and that others call them otherwise.

use std::fmt::Display;
use std::num::NonZeroU64;
use std::ops::RangeInclusive;

use virtio_blk::{Limit, Rate, Rates};

use super::keyval::Key;
use super::{BadOption, KeyVals};

/// What limits a drive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Throttling {
    /// Nothing.
    #[default]
    Unlimited,
    /// Limits that it gives the group of this name, which is its own where it has none.
    Limits(Box<Rates>, Option<String>),
    /// Those of the group of this name, which is there.
    Group(String),
}

impl Throttling {
    /// Takes the limits of a `-drive`.
    pub(super) fn take(kv: &mut KeyVals) -> Result<Self, BadOption> {
        let rates = rates(kv, &|name| format!("throttling.{name}"))?;
        // A group is of no account where there are no limits, as in QEMU.
        let group = kv.take(GROUP).filter(|group| !group.is_empty());
        Ok(match rates == Rates::default() {
            true => Self::Unlimited,
            false => Self::Limits(Box::new(rates), group),
        })
    }
}

/// Takes limits, which are `called` otherwise here.
pub fn rates(kv: &mut KeyVals, called: &dyn Fn(&str) -> String) -> Result<Rates, BadOption> {
    let mut names = Names { kv, called };
    let bytes = names.limit("bps")?;
    let operations = names.limit("iops")?;
    let operation_size = names.number("iops-size", 0..=u64::MAX)?;
    match operation_size {
        Some(size) if operations.is_none() => {
            let (why, accepted) = ("iops size requires an iops value to be set", "one of iops");
            Err(names.bad("iops-size", size, why, accepted))
        }
        _ => Ok(Rates {
            bytes,
            operations,
            operation_size,
        }),
    }
}

/// The limits that there are, all averages among them, by their names.
pub fn named(rates: Rates) -> Vec<(String, u64)> {
    let mut named = Vec::new();
    for (unit, limit) in [("bps", rates.bytes), ("iops", rates.operations)] {
        let limits = limit.map_or([None; 3], Limit::rates);
        for (whose, rate) in WHOSE.into_iter().zip(limits) {
            let name = format!("{unit}-{whose}");
            if let Some(burst) = rate.and_then(|rate| rate.bursts()) {
                named.push((format!("{name}-max"), burst.rate.get()));
                named.push((format!("{name}-max-length"), burst.seconds.get()));
            }
            named.push((name, rate.map_or(0, |rate| rate.average().get())));
        }
    }
    let size = rates.operation_size.map(NonZeroU64::get);
    named.extend(size.map(|size| ("iops-size".to_owned(), size)));
    named
}

/// Limits by the names that they have where they are given.
struct Names<'a> {
    kv: &'a mut KeyVals,
    called: &'a dyn Fn(&str) -> String,
}

impl Names<'_> {
    /// Those of one unit: of reads and writes together, or of each.
    fn limit(&mut self, unit: &str) -> Result<Option<Limit>, BadOption> {
        let [total, read, write] = WHOSE.map(|whose| format!("{unit}-{whose}"));
        let together = self.rate(&total)?;
        let each = [self.rate(&read)?, self.rate(&write)?];
        let other = [read, write].into_iter().zip(each);
        let other = other.filter_map(|(name, rate)| Some((name, rate?))).next();
        match (together, other) {
            (Some(_), Some((name, rate))) => {
                let why = "total values and read/write values cannot be used at the same time";
                let accepted = format!("it without {}", (self.called)(&total));
                Err(self.bad(&name, rate.average(), why, accepted))
            }
            (Some(rate), None) => Ok(Some(Limit::Total(rate))),
            (None, Some(_)) => Ok(Some(Limit::Each {
                read: each[0],
                write: each[1],
            })),
            (None, None) => Ok(None),
        }
    }

    /// The average of this name, with the burst that goes with it.
    fn rate(&mut self, name: &str) -> Result<Option<Rate>, BadOption> {
        let (max, length) = (format!("{name}-max"), format!("{name}-max-length"));
        let average = self.number(name, 0..=MOST)?;
        let burst = self.number(&max, 0..=MOST)?;
        let seconds = self.number(&length, 1..=MOST)?.unwrap_or(NonZeroU64::MIN);
        let its = |this: &Self, name: &str| (this.called)(name);
        match (average.map(Rate::new), burst) {
            (_, None) if seconds.get() > 1 => {
                let accepted = format!("it with {}", its(self, &max));
                Err(self.bad(
                    &length,
                    seconds,
                    "burst length set without burst rate",
                    accepted,
                ))
            }
            (_, Some(burst)) if burst.saturating_mul(seconds).get() > MOST => {
                let accepted = format!("at most {}", MOST / burst);
                let why = "burst length too high for this burst rate";
                Err(self.bad(&length, seconds, why, accepted))
            }
            (None, Some(burst)) => {
                let accepted = format!("it with {}", its(self, name));
                Err(self.bad(&max, burst, "a burst without an average", accepted))
            }
            (Some(rate), Some(most)) => rate.burst(most, seconds).map(Some).map_err(|_| {
                let accepted = format!("at least {}, {}", its(self, name), rate.average());
                self.bad(&max, most, "cannot be lower than the average", accepted)
            }),
            (rate, None) => Ok(rate),
        }
    }

    /// A number, of which 0 is as good as none.
    fn number(
        &mut self,
        name: &str,
        range: RangeInclusive<u64>,
    ) -> Result<Option<NonZeroU64>, BadOption> {
        let number = self.kv.take_number(&(self.called)(name), range)?;
        Ok(number.and_then(NonZeroU64::new))
    }

    fn bad(&self, name: &str, value: NonZeroU64, why: &str, accepted: impl Display) -> BadOption {
        let (key, value) = ((self.called)(name), value.to_string());
        BadOption::property(self.kv.option(), &key, &value, why, accepted)
    }
}

/// In the order of [`Limit::rates`].
const WHOSE: [&str; 3] = ["total", "read", "write"];
/// QEMU's.
const MOST: u64 = 1_000_000_000_000_000;
const GROUP: &str = "throttling.group";
#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    ("throttling.iops-total", "requests in a second, 0 (default): no limit"),
    ("throttling.iops-total-max", "requests in a second after a time of rest"),
    ("throttling.iops-total-max-length", "for so many seconds (default 1)"),
    ("throttling.iops-read", "the same of reads for themselves"),
    ("throttling.iops-read-max", "and after a time of rest"),
    ("throttling.iops-read-max-length", "for so many seconds (default 1)"),
    ("throttling.iops-write", "the same of writes for themselves"),
    ("throttling.iops-write-max", "and after a time of rest"),
    ("throttling.iops-write-max-length", "for so many seconds (default 1)"),
    ("throttling.iops-size", "a request of more bytes than this counts as several"),
    ("throttling.bps-total", "bytes in a second, 0 (default): no limit"),
    ("throttling.bps-total-max", "bytes in a second after a time of rest"),
    ("throttling.bps-total-max-length", "for so many seconds (default 1)"),
    ("throttling.bps-read", "the same of reads for themselves"),
    ("throttling.bps-read-max", "and after a time of rest"),
    ("throttling.bps-read-max-length", "for so many seconds (default 1)"),
    ("throttling.bps-write", "the same of writes for themselves"),
    ("throttling.bps-write-max", "and after a time of rest"),
    ("throttling.bps-write-max-length", "for so many seconds (default 1)"),
    (GROUP, "drives that keep to these limits together (default: the drive's id)"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn throttling(text: &str) -> Result<Throttling, String> {
        let mut kv = KeyVals::parse("-drive", text, None);
        Throttling::take(&mut kv).map_err(|error| error.to_string())
    }

    fn of(number: u64) -> NonZeroU64 {
        NonZeroU64::new(number).unwrap()
    }

    #[test]
    fn limits_have_qemus_names() {
        for text in ["throttling.iops-total=0", "throttling.group=g"] {
            assert_eq!(throttling(text).unwrap(), Throttling::Unlimited, "{text}");
        }
        let found = throttling(
            "throttling.iops-read=100,throttling.iops-size=4096,throttling.bps-total=1000,\
             throttling.bps-total-max=2000,throttling.bps-total-max-length=5,throttling.group=g",
        );
        let bytes = Rate::new(of(1000)).burst(of(2000), of(5)).unwrap();
        let rates = Rates {
            bytes: Some(Limit::Total(bytes)),
            operations: Some(Limit::Each {
                read: Some(Rate::new(of(100))),
                write: None,
            }),
            operation_size: Some(of(4096)),
        };
        let group = Some("g".to_owned());
        assert_eq!(found.unwrap(), Throttling::Limits(Box::new(rates), group));
        let named: Vec<_> = named(rates).into_iter().filter(|(_, n)| *n > 0).collect();
        let named: Vec<_> = named.iter().map(|(name, n)| (name.as_str(), *n)).collect();
        let expected = [
            ("bps-total-max", 2000),
            ("bps-total-max-length", 5),
            ("bps-total", 1000),
            ("iops-read", 100),
            ("iops-size", 4096),
        ];
        assert_eq!(named, expected);
    }

    #[test]
    fn what_excludes_what_is_as_in_qemu() {
        for (text, expected) in [
            (
                "bps-total-max=5",
                "bps-total-max=5: a burst without an average; accepted: it with throttling.bps-total",
            ),
            (
                "bps-write=5,throttling.bps-write-max=4",
                "bps-write-max=4: cannot be lower than the average; accepted: at least \
                 throttling.bps-write, 5",
            ),
            (
                "iops-total=5,throttling.iops-total-max-length=4",
                "iops-total-max-length=4: burst length set without burst rate; accepted: it with \
                 throttling.iops-total-max",
            ),
            (
                "iops-total=5,throttling.iops-write=4",
                "iops-write=4: total values and read/write values cannot be used at the same time; \
                 accepted: it without throttling.iops-total",
            ),
            (
                "iops-size=512,throttling.bps-total=4",
                "iops-size=512: iops size requires an iops value to be set",
            ),
            (
                "iops-read=5,throttling.iops-read-max=1000000000000000,\
                 throttling.iops-read-max-length=2",
                "iops-read-max-length=2: burst length too high for this burst rate; accepted: at \
                 most 1",
            ),
            ("iops-read-max-length=0", "accepted: a number from 1 to"),
            ("iops-total=x", "a number from 0 to 1000000000000000"),
        ] {
            let error = throttling(&format!("throttling.{text}")).unwrap_err();
            let expected = expected.to_owned();
            assert!(error.contains(&expected), "{text}: {error}");
        }
        assert!(throttling("throttling.iops-total=5,throttling.bps-read=4").is_ok());
        assert!(throttling("throttling.iops-total=5,throttling.iops-total-max-length=1").is_ok());
    }
}
