//! What every virtio device must stand: with pages of the host of two sizes, and with nothing on
//! offer.

mod common;

use common::*;
use testkit::TestBus;
use virtio_balloon::{Balloon, BalloonProps};

/// Every queue but that of statistics, which keeps what it gets.
fn every_queue(bus: &mut TestBus) {
    let features = bus.core().driver_features();
    let numbers = numbers(&[FREE, FREE + 1, FREE + 2]);
    for queue in [INFLATE, DEFLATE] {
        assert_eq!(bus.request(queue, &[&numbers], &[]).len, 0);
        assert_eq!(
            bus.request(queue, &[&numbers[..5], &numbers[5..]], &[]).len,
            0
        );
    }
    if features.contains(FREE_PAGE_HINT | PAGE_REPORTING | STATS_VQ) {
        assert_eq!(bus.request(HINTS, &[&[0; 4]], &[]).len, 0);
        assert_eq!(bus.request(HINTS, &[], &[4096]).len, 0);
        assert_eq!(bus.request(REPORTS, &[], &[4096, 8192]).len, 0);
    }
}

mod with_everything {
    use super::*;

    testkit::device_suite! {
        device: || Balloon::new(&everything(), Marker::keeping(4096)).unwrap(),
        traffic: every_queue,
    }
}

mod on_a_host_with_large_pages {
    use super::*;

    testkit::device_suite! {
        device: || Balloon::new(&everything(), Marker::keeping(65536)).unwrap(),
        traffic: every_queue,
    }
}

mod as_by_default {
    use super::*;

    testkit::device_suite! {
        device: || Balloon::new(&BalloonProps::default(), Marker::keeping(4096)).unwrap(),
        traffic: every_queue,
    }
}
