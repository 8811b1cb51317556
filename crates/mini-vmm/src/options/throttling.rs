//! `-drive throttling.*`: how much a disk may do in a second.

use std::num::NonZeroU64;

use virtio_blk::{Limit, Rate, Rates};

use super::{BadOption, KeyVals};

/// Takes the limits of a drive.
pub(super) fn take(kv: &mut KeyVals) -> Result<Rates, BadOption> {
    Ok(Rates {
        bytes: rate(kv, "throttling.bps-total")?.map(Limit::Total),
        operations: rate(kv, "throttling.iops-total")?.map(Limit::Total),
        operation_size: number(kv, "throttling.iops-size")?,
    })
}

/// The average under `key`, with the burst that goes with it.
fn rate(kv: &mut KeyVals, key: &str) -> Result<Option<Rate>, BadOption> {
    let (max, length) = (format!("{key}-max"), format!("{key}-max-length"));
    let average = number(kv, key)?;
    let burst = number(kv, &max)?;
    let seconds = number(kv, &length)?;
    let bad = |key: &str, value: Option<NonZeroU64>, accepted: String| {
        let value = value.map(|value| value.to_string()).unwrap_or_default();
        BadOption::property(kv.option(), key, &value, "not accepted", accepted)
    };
    match (average.map(Rate::new), burst) {
        (None, Some(_)) => Err(bad(&max, burst, format!("a burst over {key}"))),
        (_, None) if seconds.is_some() => {
            Err(bad(&length, seconds, format!("the length of {max}")))
        }
        (Some(rate), Some(most)) => {
            let bounded = rate.burst(most, seconds.unwrap_or(NonZeroU64::MIN));
            let accepted = format!("at least {key}");
            bounded.map(Some).map_err(|_| bad(&max, burst, accepted))
        }
        (rate, None) => Ok(rate),
    }
}

/// A number, of which 0 is as good as none.
fn number(kv: &mut KeyVals, key: &str) -> Result<Option<NonZeroU64>, BadOption> {
    let number = kv.take_number(key, 0..=MAX)?;
    Ok(number.and_then(NonZeroU64::new))
}

/// QEMU's.
const MAX: u64 = 1_000_000_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(text: &str) -> Result<Rates, String> {
        let mut kv = KeyVals::parse("-drive", text, None);
        take(&mut kv).map_err(|error| error.to_string())
    }

    fn of(number: u64) -> NonZeroU64 {
        NonZeroU64::new(number).unwrap()
    }

    #[test]
    fn rates_have_qemus_names() {
        assert_eq!(rates("throttling.iops-total=0").unwrap(), Rates::default());
        let found = rates(
            "throttling.iops-total=100,throttling.iops-size=4096,throttling.bps-total=1000,\
             throttling.bps-total-max=2000,throttling.bps-total-max-length=5",
        );
        let expected = Rates {
            bytes: Rate::new(of(1000))
                .burst(of(2000), of(5))
                .ok()
                .map(Limit::Total),
            operations: Some(Limit::Total(Rate::new(of(100)))),
            operation_size: Some(of(4096)),
        };
        assert_eq!(found.unwrap(), expected);
    }

    #[test]
    fn bursts_go_with_an_average() {
        for (text, expected) in [
            (
                "throttling.bps-total-max=5",
                "a burst over throttling.bps-total",
            ),
            (
                "throttling.bps-total=5,throttling.bps-total-max=4",
                "at least throttling.bps-total",
            ),
            (
                "throttling.iops-total=5,throttling.iops-total-max-length=4",
                "the length of throttling.iops-total-max",
            ),
            ("throttling.iops-total=x", "a number from 0 to"),
        ] {
            let error = rates(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
