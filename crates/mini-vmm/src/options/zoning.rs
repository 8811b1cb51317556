//! `-drive x-zoned.*`: a disk in zones. QEMU has such options for its NVMe namespaces alone; these are
//! called like those.

use std::path::PathBuf;

use virtio_blk::ZoneLayout;

use super::{BadOption, KeyVals, values};

/// How a drive is divided into zones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zoning {
    /// The zones.
    pub layout: ZoneLayout,
    /// The file that says how far they are written; none for a disk that forgets.
    pub record: Option<PathBuf>,
}

/// Takes the zones of a drive, which are `recorded` or forgotten.
pub(super) fn take(kv: &mut KeyVals, recorded: bool) -> Result<Option<Zoning>, BadOption> {
    let size = size(kv, SIZE)?;
    let capacity = self::size(kv, CAPACITY)?;
    let mut count = |key| kv.take_number(key, 0..=MOST);
    let counts = [count(CONVENTIONAL)?, count(MAX_OPEN)?, count(MAX_ACTIVE)?];
    let record = kv.take(RECORD);
    let missing =
        |key, accepted: &str| BadOption::property(kv.option(), key, "", "missing", accepted);
    let Some(size) = size else {
        let more = capacity.is_some() || counts.iter().any(Option::is_some) || record.is_some();
        let accepted = "the bytes of a zone, as all x-zoned options need it";
        return if more {
            Err(missing(SIZE, accepted))
        } else {
            Ok(None)
        };
    };
    if recorded && record.is_none() {
        return Err(missing(
            RECORD,
            "the path of a file, made where there is none",
        ));
    }
    let [conventional, max_open, max_active] = counts.map(|count| count.unwrap_or(0) as u32);
    Ok(Some(Zoning {
        layout: ZoneLayout {
            size,
            capacity: capacity.unwrap_or(size),
            conventional,
            max_open,
            max_active,
        },
        record: record.map(PathBuf::from),
    }))
}

fn size(kv: &mut KeyVals, key: &str) -> Result<Option<u64>, BadOption> {
    let text = kv.take(key);
    text.map(|text| values::size(kv.option(), Some(key), &text, 1))
        .transpose()
}

pub(super) const SIZE: &str = "x-zoned.zone_size";
pub(super) const CAPACITY: &str = "x-zoned.zone_capacity";
pub(super) const CONVENTIONAL: &str = "x-zoned.conventional";
pub(super) const MAX_OPEN: &str = "x-zoned.max_open";
pub(super) const MAX_ACTIVE: &str = "x-zoned.max_active";
pub(super) const RECORD: &str = "x-zoned.record";
/// A disk has no more zones.
const MOST: u64 = 65536;

#[cfg(test)]
mod tests {
    use super::*;

    fn zoning(text: &str, recorded: bool) -> Result<Option<Zoning>, String> {
        let mut kv = KeyVals::parse("-drive", text, None);
        take(&mut kv, recorded).map_err(|error| error.to_string())
    }

    #[test]
    fn zones_are_as_large_as_their_capacity_unless_said() {
        let found = zoning(
            "x-zoned.zone_size=1M,x-zoned.max_open=4,x-zoned.record=a",
            true,
        );
        let Zoning { layout, record } = found.unwrap().unwrap();
        assert_eq!((layout.size, layout.capacity), (1 << 20, 1 << 20));
        assert_eq!((layout.max_open, layout.max_active), (4, 0));
        assert_eq!(record, Some("a".into()));
        let found = zoning("x-zoned.zone_size=1M,x-zoned.zone_capacity=768K", false);
        assert_eq!(found.unwrap().unwrap().layout.capacity, 768 << 10);
        assert_eq!(zoning("", true), Ok(None));
    }

    #[test]
    fn zones_need_a_size_and_a_record() {
        for (text, expected) in [
            ("x-zoned.max_open=4", "x-zoned.zone_size=: missing"),
            ("x-zoned.record=a", "x-zoned.zone_size=: missing"),
            ("x-zoned.zone_size=1M", "x-zoned.record=: missing"),
            ("x-zoned.zone_size=x", "not a size"),
            (
                "x-zoned.zone_size=1M,x-zoned.conventional=65537",
                "a number from 0 to 65536",
            ),
        ] {
            let error = zoning(text, true).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
