//! What every virtio device must stand.

use virtio_rng::{HostRandom, Rng, RngProps};

testkit::device_suite! {
    device: || Rng::new(&RngProps::default(), HostRandom).unwrap(),
    traffic: |bus| {
        for writable in [&[16][..], &[1, 14, 1]] {
            assert_eq!(bus.request(0, &[], writable).len, 16);
        }
    },
}
