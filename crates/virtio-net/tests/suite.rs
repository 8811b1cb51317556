//! The conformance suite, with frames that come back as traffic.

mod common;

use common::*;
use testkit::TestBus;
use virtio_net::{Net, NetProps, Plain};

/// Sends a frame that nobody has sent before, and waits until it has come back.
fn echoes(bus: &mut TestBus) {
    let features = bus.core().driver_features();
    let header = if features.contains(HASH_REPORT) {
        20
    } else {
        12
    };
    let frame = frame(OWN, b"\x08\x06 there and back");
    for _ in 0..100 {
        let request = bus.submit(0, &[], &[7, 300]);
        assert_eq!(bus.request(1, &[&vec![0; header], &frame], &[]).len, 0);
        assert!(bus.run_until(|bus| bus.queue(0).has_used()));
        let back = received(bus, 0, &request).unwrap();
        if back[header..] == frame {
            return;
        }
        // One that was under way before a reset.
    }
    panic!("it does not come back");
}

mod plain {
    use super::*;

    testkit::device_suite! {
        device: || Net::new(&NetProps::default(), Plain, vec![Echo::new()]).unwrap(),
        traffic: echoes,
    }
}

mod with_headers {
    use super::*;

    testkit::device_suite! {
        device: || {
            let props = NetProps::default().mq(true).host_mtu(9000).notf_coal(true);
            Net::new(&props, Tap::default(), vec![Echo::new(), Echo::new()]).unwrap()
        },
        traffic: echoes,
    }
}

mod steering {
    use super::*;

    testkit::device_suite! {
        device: || {
            let lines = (0..2).map(|_| Echo::new()).collect();
            Net::new(&everything(), Tap::default(), lines).unwrap()
        },
        traffic: |bus| {
            if bus.core().driver_features().contains(RSS) {
                // To the first queue, whatever the hash.
                let config = [&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 40][..], &[7; 40]].concat();
                assert!(command(bus, 4, 4, 1, &config));
            }
            echoes(bus);
        },
    }
}
