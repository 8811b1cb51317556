//! A SCSI host device with one disk, whose properties are given as `-device scsi-hd,...` has them:
//! `cargo run -p virtio-scsi --example host -- logical_block_size=4096,serial=one`.

use std::error::Error;
use std::sync::Arc;

use scsi_target::LogicalUnit;
use scsi_target::guest_io::block::NullDisk;
use virtio_device::props::{apply, split_options};
use virtio_scsi::{HdProps, Scsi, ScsiProps};

fn main() -> Result<(), Box<dyn Error>> {
    let options = std::env::args().nth(1).unwrap_or_default();
    let (device, mut props) = (Scsi::new(&ScsiProps::default())?, HdProps::default());
    let pairs = split_options(&options);
    let pairs = pairs
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_deref().unwrap_or("on")));
    apply(pairs, &mut [&mut props])?;
    let disk = LogicalUnit::new(props.setup()?, NullDisk::new(1 << 30)?)?;
    let address = device.handle().add(props.unit.wish()?, Arc::new(disk))?;
    println!("target {}, unit {}", address.target, address.lun.number());
    Ok(())
}
