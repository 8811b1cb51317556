//! SIZE_MAX: segments of data are no longer than the device says.

mod common;

use common::*;
use testkit::{Options, TestBus};
use virtio_blk::virtio_device::{Features, VirtioDevice};
use virtio_blk::{Blk, BlkProps, Size};

const F_SIZE_MAX: Features = Features::bit(1);

fn props() -> BlkProps {
    BlkProps::default().size_max(Size(4096))
}

fn boot_for(features: Features) -> TestBus {
    let device = Blk::new(&props(), raw(&image())).unwrap();
    let mut bus = TestBus::with(device, Options::default());
    bus.boot(Features::VERSION_1 | features);
    bus
}

/// The status of a read into segments of these lengths.
fn read_into(bus: &mut TestBus, segments: &[u32]) -> u8 {
    let header = header(IN, 0);
    let lens: Vec<u32> = segments.iter().copied().chain([1]).collect();
    *bus.request(0, &[&header], &lens).bytes.last().unwrap()
}

#[test]
fn longer_segments_are_refused() {
    let mut bus = boot_for(F_SIZE_MAX);
    assert_eq!(read_into(&mut bus, &[4096, 512, 4096]), OK);
    assert_eq!(read_into(&mut bus, &[4096, 4608]), IOERR);
    let data = pattern(8192);
    assert_eq!(write(&mut bus, 0, &data).status, IOERR);
    let (header, halves) = (header(OUT, 0), data.split_at(4096));
    let halved = bus.request(0, &[&header, halves.0, halves.1], &[1]);
    assert_eq!(Answer::of(halved).status, OK);
    assert_eq!(read(&mut bus, 0, 4096).data, halves.0);
}

#[test]
fn a_driver_that_does_not_know_has_no_limit() {
    let mut bus = boot_for(Features::NONE);
    assert_eq!(read_into(&mut bus, &[8192]), OK);
}

#[test]
fn is_offered_where_there_is_a_limit() {
    let device = Blk::new(&props(), raw(&image())).unwrap();
    assert!(device.info().features.contains(F_SIZE_MAX));
    assert_eq!(device.config().snapshot()[8..12], 4096_u32.to_le_bytes());
    let device = Blk::new(&BlkProps::default(), raw(&image())).unwrap();
    assert!(!device.info().features.contains(F_SIZE_MAX));
    let refused = Blk::new(&props().size_max(Size(512)), raw(&image()));
    let refused = refused.err().unwrap().to_string();
    assert!(refused.contains("x-size-max"), "{refused}");
}
