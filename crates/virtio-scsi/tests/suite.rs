//! What every virtio device must stand.

mod common;

use common::*;
use testkit::TestBus;

fn good_requests(bus: &mut TestBus) {
    settle(bus, 1, 0);
    command(bus, &write10(3, 2), &[0x33; 1024], 0).good();
    let answer = command(bus, &read10(3, 2), &[], 1024);
    assert_eq!(answer.good().data, [0x33; 1024]);
    assert_eq!((answer.used, answer.residual), (108 + 1024, 0));
    command(bus, &[0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[], 0).good();
    assert_eq!(manage(bus, 5, lun_field(1, 0), 0), OK);
    assert_eq!(command(bus, &[0; 6], &[], 0).refused(), (6, 0x2903));
}

testkit::device_suite! {
    device: || device(&blank()).0,
    traffic: good_requests,
}
