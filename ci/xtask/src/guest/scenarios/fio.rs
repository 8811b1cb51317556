//! `fio --verify=crc32c` with random reads and writes over all queues, on one disk per ring
//! layout and transport. The guest also looks at the negotiated features, so that a disk which
//! silently fell back to another layout fails.

use anyhow::Result;

use crate::guest::machine::Machine;
use crate::guest::scenario::{Play, Scenario, Shared, in_l1, nothing};

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "fio",
    equip,
    play: Play::Shared(Shared {
        checks: |machine| disks(machine).map(|(name, _)| name.to_owned()).collect(),
        beside: nothing,
        after: nothing,
    }),
};

fn equip(machine: &mut Machine) -> Result<()> {
    machine.processors = processors();
    machine.parameter(&format!("fio_size={}", piece(machine)));
    let disks: Vec<_> = disks(machine).collect();
    disks
        .into_iter()
        .try_for_each(|(name, device)| machine.disk(&format!("{device},num-queues=4"), name, SIZE))
}

/// A driver takes at most one queue per processor, so there are four of them. One level down there
/// are two: under the load of four, the emulated SVM ends the guest in a triple fault in many a boot,
/// be its VMM ours or QEMU, stops it, or has L1's own kernel find a broken stack. Guests on s390x, whose
/// processors are emulated and nothing else, have four there as well.
pub(super) fn processors() -> u32 {
    if in_l1() { 2 } else { 4 }
}

/// What each of four jobs writes and verifies: all of the disk, but little of it on s390x, which is
/// emulated always.
pub(super) fn piece(machine: &Machine) -> &'static str {
    match (machine.full, machine.vmm.bus()) {
        (true, "pci") => "16m",
        _ => "2m",
    }
}

fn disks(machine: &Machine) -> impl Iterator<Item = (&'static str, &'static str)> {
    let (mmio, ours) = (machine.vmm.has_mmio(), machine.vmm.is_ours());
    let disks = match machine.vmm.bus() {
        "ccw" => &CCW_DISKS[..],
        _ => &DISKS,
    };
    disks
        .iter()
        .copied()
        .filter(move |(name, _)| mmio || *name != "fio-mmio")
        .filter(move |(name, _)| ours || *name != "fio-classic")
}

/// Serial number, device. `guest/fio.sh` knows what each must look like from inside.
const DISKS: [(&str, &str); 6] = [
    ("fio-split", "virtio-blk-pci,packed=off"),
    ("fio-packed", "virtio-blk-pci,packed=on"),
    ("fio-direct", "virtio-blk-pci,indirect_desc=off"),
    ("fio-noevent", "virtio-blk-pci,event_idx=off"),
    (
        "fio-legacy",
        "virtio-blk-pci,disable-legacy=off,disable-modern=on",
    ),
    ("fio-mmio", "virtio-blk-device"),
];
/// The same for channel I/O, whose revision 0 is the legacy interface.
const CCW_DISKS: [(&str, &str); 7] = [
    ("fio-split", "virtio-blk-ccw,packed=off"),
    ("fio-packed", "virtio-blk-ccw,packed=on"),
    ("fio-direct", "virtio-blk-ccw,indirect_desc=off"),
    ("fio-noevent", "virtio-blk-ccw,event_idx=off"),
    ("fio-revision1", "virtio-blk-ccw,max_revision=1"),
    ("fio-legacy", "virtio-blk-ccw,max_revision=0"),
    ("fio-classic", "virtio-blk-ccw,x-adapter-interrupts=off"),
];
const SIZE: u64 = 64 << 20;
