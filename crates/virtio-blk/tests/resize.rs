//! A disk that grows and shrinks under its driver.

mod common;

use common::*;
use testkit::{Options, TestBus};
use virtio_blk::virtio_device::Features;
use virtio_blk::{Blk, BlkError, BlkProps};

#[test]
fn a_driver_hears_of_a_new_size_and_may_use_it() {
    let (file, grown) = (image(), 8 << 20);
    let device = Blk::new(&BlkProps::default(), raw(&file)).unwrap();
    let resizer = device.resizer();
    let mut bus = TestBus::with(device, Options::default());
    bus.boot(Features::VERSION_1);
    let last = grown / 512 - 1;
    assert_ne!(read(&mut bus, last, 512).status, 0);

    file.set_len(grown).unwrap();
    resizer.resize(grown).unwrap();
    assert_eq!(bus.read_config(0, 8), (grown / 512).to_le_bytes());
    assert_eq!(bus.interrupts().config(), 1);
    assert_eq!(read(&mut bus, last, 512).status, 0);

    resizer.resize(grown).unwrap();
    assert_eq!(bus.interrupts().config(), 1);
    resizer.resize(512).unwrap();
    assert_ne!(read(&mut bus, last, 512).status, 0);
}

#[test]
fn a_size_that_is_no_number_of_blocks_is_refused() {
    let device = Blk::new(&BlkProps::default(), raw(&image())).unwrap();
    let resizer = device.resizer();
    let before = device_capacity(&device);
    assert!(matches!(
        resizer.resize(1000),
        Err(BlkError::Length { size: 1000, .. })
    ));
    assert_eq!(device_capacity(&device), before);
    // Without a driver there is nobody to tell.
    resizer.resize(1024).unwrap();
    assert_eq!(device_capacity(&device), 2u64.to_le_bytes());
}

fn device_capacity<B: virtio_blk::Backend>(device: &Blk<B>) -> Vec<u8> {
    use virtio_blk::virtio_device::VirtioDevice;
    device.config().snapshot()[..8].to_vec()
}
