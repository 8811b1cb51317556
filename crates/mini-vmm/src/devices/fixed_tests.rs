//! Every property that QEMU's devices have is accounted for: `tests/qemu-properties.tsv` says what
//! they are, and `docs/properties.md` what differs here. A new type of device is checked once it is
//! in the table of devices.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use virtio_device::props::{PropHelp, PropValue};

use super::fixed::{Default, FIXED, FixedProps, is_among};
use super::properties;
use super::table::DEVICES;

/// A property of QEMU's devices.
#[derive(Clone, Copy)]
struct Theirs {
    name: &'static str,
    kind: &'static str,
    default: &'static str,
    types: &'static str,
}

fn theirs() -> impl Iterator<Item = Theirs> {
    let lines = include_str!("../../tests/qemu-properties.tsv").lines();
    lines.filter(|line| !line.starts_with('#')).map(|line| {
        let fields: Vec<_> = line.split('\t').collect();
        let [name, kind, default, types] = fields[..] else {
            panic!("{line}");
        };
        Theirs {
            name,
            kind,
            default,
            types,
        }
    })
}

/// Types that both have.
fn types() -> Vec<&'static str> {
    let names = DEVICES.iter().map(|row| row.name);
    names
        .filter(|name| theirs().any(|property| is_among(name, property.types)))
        .collect()
}

/// Rows of the table under `heading` in `docs/properties.md`, as cells.
fn documented(heading: &str) -> BTreeSet<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/properties.md");
    let text = fs::read_to_string(path).unwrap();
    let section = text.split("\n## ").find(|part| part.starts_with(heading));
    let rows = section
        .unwrap()
        .lines()
        .filter(|line| line.starts_with('|'));
    let cells = rows.map(|row| {
        let cells = row.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().replace('`', "")).collect()
    });
    cells.skip(2).collect()
}

/// Whether `help`, of ours, is of QEMU's type `kind`.
fn same_kind(help: &PropHelp, kind: &str) -> bool {
    let accepts = help.accepts;
    match kind {
        "bool" => accepts == bool::ACCEPTS,
        "OnOffAuto" => accepts == "on|off|auto",
        "uint8" | "uint16" | "uint32" | "uint64" | "int32" | "int" => accepts.contains("number"),
        "size" => accepts.contains("bytes") || accepts.contains("size"),
        _ => true,
    }
}

/// Whether the defaults are the same; "unset" has as many forms as there are types.
fn same_default(ours: &str, theirs: &str) -> bool {
    ours == theirs || ours.is_empty() && ["-", "-1", "[]", "4294967295", "2"].contains(&theirs)
}

#[test]
fn every_property_of_qemu_is_there_with_its_type_and_default() {
    assert!(types().len() >= 17, "{:?}", types());
    for driver in types() {
        let ours = properties(driver).unwrap();
        for their in theirs().filter(|their| is_among(driver, their.types)) {
            let mut same = ours.iter().filter(|help| help.name == their.name);
            let help = same.next();
            let help = help.unwrap_or_else(|| panic!("{driver} has no {}", their.name));
            assert!(same.next().is_none(), "{driver}: {} twice", their.name);
            let (name, default) = (their.name, their.default);
            assert!(
                same_default(&help.value, default),
                "{driver} {name}: {help:?}"
            );
            let fixed = FixedProps(driver).rows().any(|row| row.name == name);
            assert!(
                fixed || same_kind(help, their.kind),
                "{driver} {name}: {help:?}"
            );
        }
    }
}

#[test]
fn what_qemu_has_at_its_default_alone_is_listed() {
    let listed = documented("Accepted at their default");
    let rows = FIXED.iter().map(|row| {
        let default = match row.default {
            Default::Only(default) => default.to_owned(),
            Default::Either(default) => format!("{}, or not", default.show()),
            Default::Unset => "unset".to_owned(),
        };
        vec![
            row.types.to_owned(),
            row.name.to_owned(),
            default,
            row.why.to_owned(),
        ]
    });
    assert_eq!(rows.collect::<BTreeSet<_>>(), listed);
    for row in FIXED {
        let theirs = theirs().any(|their| their.name == row.name);
        assert!(theirs, "{} is not QEMU's", row.name);
    }
}

#[test]
fn what_qemu_does_not_have_is_listed() {
    let listed = documented("Not in QEMU's tables");
    let is_listed = |driver: &str, name: &str| {
        let mut rows = listed.iter();
        rows.any(|row| is_among(driver, &row[0]) && row[1] == name)
    };
    let mut used = BTreeSet::new();
    for driver in types() {
        for help in properties(driver).unwrap() {
            let theirs = theirs().any(|t| t.name == help.name && is_among(driver, t.types));
            let here = is_listed(driver, help.name);
            assert_ne!(theirs, here, "{driver} {}", help.name);
            used.extend(here.then_some(help.name));
        }
    }
    let names: BTreeSet<_> = listed.iter().map(|row| row[1].as_str()).collect();
    assert_eq!(names, used);
}

#[test]
fn a_fixed_property_takes_its_default_and_nothing_else() {
    use virtio_device::props::{DynProps, PropError};
    for driver in types() {
        let mut fixed = FixedProps(driver);
        for row in FixedProps(driver).rows() {
            let wrong = fixed.set(row.name, "else").unwrap_err();
            assert!(matches!(wrong, PropError::Value { .. }), "{wrong}");
            let (right, wrong) = match row.default {
                Default::Only("on") => (Some("yes"), Some("off")),
                Default::Only("off") => (Some("off"), Some("on")),
                Default::Only("0") => (Some("0x0"), Some("1")),
                Default::Only(default) => (Some(default), Some("on")),
                Default::Either(_) => (Some("on"), None),
                Default::Unset => (None, Some("")),
            };
            assert!(right.is_none_or(|right| fixed.set(row.name, right) == Ok(true)));
            assert!(wrong.is_none_or(|wrong| fixed.set(row.name, wrong).is_err()));
        }
    }
    assert_eq!(FixedProps("virtio-rng-pci").set("lcyls", "0"), Ok(false));
}
