//! What a disk offers besides reading and writing: its topology, a cache that the driver switches,
//! discards and zeroes, a rate; an image that is shorter than the disk, and one in qcow2.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::guest::machine::{LOG, Machine};
use crate::guest::scenario::{BOOT, Play, Scenario, Shared, check_file_system, tool};
use crate::guest::verdict::Verdict;
use crate::process::output;

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "blk",
    equip,
    play: Play::Shared(Shared {
        checks: |_| CHECKS.iter().copied().map(str::to_owned).collect(),
        beside,
        after: |machine| {
            vec![
                Verdict::of("blk-unmapped", unmapped(machine)),
                Verdict::of("blk-image", check_image(machine)),
            ]
        },
    }),
};

fn equip(machine: &mut Machine) -> Result<()> {
    let blk = machine.virtio("blk");
    machine.disk(&format!("{blk},{SHAPE}"), "blk-shape", SIZE)?;
    machine.disk(&blk, "blk-short", SIZE)?;
    special(machine, &blk, "blk-discard", "discard=unmap,")?;
    let bus = machine.virtio("scsi");
    machine.device(&format!("{bus},id=slow"));
    special(machine, &blk, "blk-slow-1", SLOW)?;
    slow_node(machine, &blk, "blk-slow-2")?;
    special(machine, "scsi-hd,bus=slow.0", "blk-slow-3", SLOW)?;
    equip_qcow2(machine, &blk)
}

/// A disk whose drive is not as all others.
fn special(machine: &mut Machine, device: &str, name: &str, how: &str) -> Result<()> {
    File::create(machine.file(name))?.set_len(SIZE)?;
    machine.drive(device, name, &machine.file(name), how);
    Ok(())
}

/// A disk above a node that throttles, of the group that the other slow ones are in.
fn slow_node(machine: &mut Machine, device: &str, name: &str) -> Result<()> {
    let image = machine.file(name);
    File::create(&image)?.set_len(SIZE)?;
    machine.option(
        "-object",
        "throttle-group,id=slow,x-iops-read=60,x-iops-write=40",
    );
    let node = format!(
        "driver=throttle,node-name={name},throttle-group=slow,file.driver=file,file.filename={}",
        image.display()
    );
    machine.option("-blockdev", &node);
    machine.device(&format!("{device},drive={name},serial={name}"));
    Ok(())
}

/// A disk in qcow2, with a file system that fits several of its clusters.
fn equip_qcow2(machine: &mut Machine, blk: &str) -> Result<()> {
    let image = machine.file("blk-image");
    let mut create = tool("qemu-img")?;
    create.args(["create", "-q", "-f", "qcow2"]).arg(&image);
    output(create.arg("16M"))?;
    let path = image.display();
    machine.option(
        "-drive",
        &format!("id=blk-image,file={path},format=qcow2,discard=unmap,if=none"),
    );
    machine.device(&format!("{blk},drive=blk-image,serial=blk-image"));
    Ok(())
}

/// Whether image and file system are sound, by others' tools.
fn check_image(machine: &Machine) -> Result<String> {
    let (image, raw) = (machine.file("blk-image"), machine.file("blk-image-raw"));
    output(tool("qemu-img")?.args(["check", "-f", "qcow2"]).arg(&image))?;
    let mut convert = tool("qemu-img")?;
    convert.args(["convert", "-f", "qcow2", "-O", "raw"]);
    output(convert.args([&image, &raw]))?;
    let found = check_file_system(&raw)?;
    Ok(format!("qemu-img check finds nothing, {found}"))
}

fn beside(machine: &Machine) -> Vec<Verdict> {
    vec![Verdict::of("blk-shorten", shorten(machine))]
}

/// Takes half of an image away, once the guest runs.
fn shorten(machine: &Machine) -> Result<String> {
    let start = Instant::now();
    let runs = || fs::read(machine.file(LOG)).is_ok_and(|log| log.ends_with(b"\n"));
    while !runs() {
        ensure!(start.elapsed() < BOOT, "the guest says nothing");
        sleep(Duration::from_millis(100));
    }
    let image = File::options().write(true).open(machine.file("blk-short"));
    image.and_then(|image| image.set_len(SIZE / 2))?;
    Ok("half of an image is gone".to_owned())
}

/// Whether the host has back what the guest does not need: two pieces of 64 KiB. The third, which
/// `blkdiscard -z` zeroes, stays allocated.
fn unmapped(machine: &Machine) -> Result<String> {
    let kib = fs::metadata(machine.file("blk-discard"))?.blocks() / 2;
    ensure!(kib <= 6 * 64 + 16, "the image still occupies {kib} KiB");
    Ok(format!("of 512 KiB written the image occupies {kib} KiB"))
}

const SHAPE: &str = "logical_block_size=4k,physical_block_size=16k,min_io_size=32k,opt_io_size=64k,\
    discard_granularity=8k,max-discard-segments=4";
const SLOW: &str = "throttling.group=slow,throttling.iops-read=60,throttling.iops-write=40,";
const CHECKS: &[&str] = &[
    "blk-topology",
    "blk-cache",
    "blk-discard",
    "blk-throttle",
    "blk-short",
    "blk-qcow2",
];
const SIZE: u64 = 1 << 20;
