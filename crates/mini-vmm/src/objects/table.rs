//! The table of object types: name, properties, and what it is.

use super::{ObjectProps, dump, entropy, iothread, throttle_group};

/// One type of object.
pub(super) struct Row {
    pub(super) name: &'static str,
    /// Its properties, at their defaults.
    pub(super) props: fn() -> Box<dyn ObjectProps>,
    pub(super) help: &'static str,
}

const fn row(name: &'static str, props: fn() -> Box<dyn ObjectProps>, help: &'static str) -> Row {
    Row { name, props, help }
}

/// That whose objects are there before drives.
pub(crate) const THROTTLE_GROUP: &str = "throttle-group";
#[rustfmt::skip]
pub(super) const OBJECTS: &[Row] = &[
    row("filter-dump", dump::props, "a capture of what passes a network back-end"),
    row("iothread", iothread::props, "a thread for the work of the devices that name it"),
    row("rng-builtin", entropy::builtin, "entropy of the host's kernel"),
    row("rng-egd", entropy::egd, "entropy of a daemon, over a chardev"),
    row("rng-random", entropy::random, "entropy of a file"),
    row(THROTTLE_GROUP, throttle_group::props, "limits that disks keep to together"),
];
