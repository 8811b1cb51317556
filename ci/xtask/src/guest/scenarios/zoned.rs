//! A host-managed zoned disk, used by the guest's own tools: blkzone, dd, fio and btrfs. Kernels know such
//! disks on virtio from 6.3 on.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;

use anyhow::{Result, ensure};

use crate::guest::machine::Machine;
use crate::guest::scenario::{Play, Scenario, Shared, nothing};
use crate::guest::verdict::Verdict;

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "zoned",
    equip,
    play: Play::Shared(Shared {
        checks: |_| CHECKS.iter().copied().map(str::to_owned).collect(),
        beside: nothing,
        after: |machine| vec![Verdict::of("zoned-record", recorded(machine))],
    }),
};

fn equip(machine: &mut Machine) -> Result<()> {
    let (image, record) = (machine.file("zoned"), machine.file("zoned-record"));
    File::create(&image)?.set_len(ZONES * ZONE)?;
    let how = format!(
        "discard=unmap,x-zoned.zone_size={ZONE},x-zoned.zone_capacity={CAPACITY},\
         x-zoned.conventional=2,x-zoned.max_open=4,x-zoned.max_active=6,x-zoned.record={},",
        record.display()
    );
    let blk = machine.virtio("blk");
    machine.drive(&blk, "zoned", &image, &how);
    let (image, record) = (machine.file("zoned-btrfs"), machine.file("btrfs-record"));
    File::create(&image)?.set_len(40 * LARGE_ZONE)?;
    let record = record.display();
    let how = format!("discard=unmap,x-zoned.zone_size={LARGE_ZONE},x-zoned.record={record},");
    machine.drive(&blk, "zoned-btrfs", &image, &how);
    Ok(())
}

/// What is left of it outside: two zones that are written and finished, and the storage of what they
/// have.
fn recorded(machine: &Machine) -> Result<String> {
    let record = fs::read(machine.file("zoned-record"))?;
    let (entries, _) = record.as_chunks::<8>();
    let states: Vec<_> = entries.iter().skip(HEADER).map(|entry| entry[7]).collect();
    let expected = [&[0, 0, 14, 14][..], &[1; 12]].concat();
    ensure!(states == expected, "the record's states: {states:?}");
    let kib = fs::metadata(machine.file("zoned"))?.blocks() / 2;
    ensure!(kib <= 2 * 768 + 64, "the image still occupies {kib} KiB");
    Ok(format!(
        "two of 16 zones are full, the image occupies {kib} KiB"
    ))
}

const CHECKS: &[&str] = &[
    "zoned-limits",
    "zoned-states",
    "zoned-open",
    "zoned-fio",
    "zoned-append",
];
const ZONES: u64 = 16;
const ZONE: u64 = 1 << 20;
const CAPACITY: u64 = 768 << 10;
/// In which the structures of a file system have room.
const LARGE_ZONE: u64 = 32 << 20;
/// Entries that the record's header is as long as.
const HEADER: usize = 4;
