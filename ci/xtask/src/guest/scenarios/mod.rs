//! The scenarios, one to a file.

pub mod balloon;
pub mod blk;
pub mod console;
pub mod ends;
pub mod erase;
pub mod fio;
mod full;
pub mod host;
pub mod hotplug;
pub mod hub;
pub mod kaslr;
pub mod kill;
pub mod monitor;
pub mod mount;
pub mod net;
pub mod port;
pub mod rebind;
pub mod reboot;
pub mod rng;
pub mod root;
pub mod scsi;
pub mod share;
pub mod units;
pub mod zoned;

use crate::guest::scenario::Scenario;

/// Every scenario, in the order in which those that share a boot are run; of the others the longest
/// first, so that who share the work end at about the same time.
pub const ALL: &[Scenario] = &[
    root::SCENARIO,
    kaslr::SCENARIO,
    console::SCENARIO,
    rng::SCENARIO,
    port::SCENARIO,
    rebind::SCENARIO,
    blk::SCENARIO,
    fio::SCENARIO,
    hub::SCENARIO,
    scsi::SCENARIO,
    units::SCENARIO,
    hotplug::NATIVE,
    hotplug::ACPI,
    share::SCENARIO,
    net::SCENARIO,
    kill::SCENARIO,
    ends::SCENARIO,
    monitor::SCENARIO,
    balloon::SCENARIO,
    balloon::REPORTING,
    reboot::SCENARIO,
];

/// Those that Debian's newest kernel boots for, all in one boot.
pub const NEWEST: &[Scenario] = &[
    root::SCENARIO,
    kaslr::SCENARIO,
    console::SCENARIO,
    rng::SCENARIO,
    zoned::SCENARIO,
    erase::SCENARIO,
    host::SCENARIO,
];

/// What names of checks with that kernel begin with.
pub const NEWEST_LABEL: &str = "x86-newest-";
