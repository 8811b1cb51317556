//! What every virtio device must stand: with a back-end that gives back what it takes, with one
//! that takes nothing, and without ports to speak of.

mod common;

use common::*;
use testkit::TestBus;
use virtio_serial::{Null, Port, Serial, SerialProps};

/// What the guest writes to the console comes back to it.
fn echoes(bus: &mut TestBus) {
    if bus.core().driver_features().contains(MULTIPORT) {
        tell(bus, 0, PORT_OPEN, 0);
        tell(bus, 0, PORT_OPEN, 1);
    }
    bus.request(1, &[b"to the ", b"host"], &[]);
    // What came back before, in the middle of something else, is still to be fetched.
    let mut got = Vec::new();
    while !got.ends_with(b"to the host") {
        let response = bus.request(0, &[], &[1, 4095]);
        got.extend(&response.bytes[..response.len as usize]);
    }
}

mod console_that_echoes {
    use super::*;

    testkit::device_suite! {
        device: || console_and_port(&Wire::echo(), &Wire::echo()).with_size(80, 25),
        traffic: echoes,
    }
}

mod ports_that_take_nothing {
    use super::*;

    testkit::device_suite! {
        device: || console_and_port(&Wire::with_room(0), &Wire::with_room(0)),
        traffic: |bus| tell(bus, 0, PORT_OPEN, 1),
    }
}

mod single_console {
    use super::*;

    testkit::device_suite! {
        device: || {
            let props = SerialProps::default().max_ports(1).emergency_write(false);
            Serial::new(&props, vec![Port::console(Wire::echo().near())]).unwrap()
        },
        traffic: echoes,
    }
}

mod no_ports {
    use super::*;

    testkit::device_suite! {
        device: || serial(Vec::new()),
        traffic: |bus| {
            tell(bus, 0, DEVICE_READY, 1);
            bus.request(1, &[b"lost"], &[]);
        },
    }
}

mod as_many_as_by_default {
    use super::*;

    #[test]
    fn starts_and_serves_the_last_port() {
        let wire = Wire::new();
        let mut ports: Vec<_> = (0..30).map(|_| Port::console(Null)).collect();
        ports.push(plain(virtio_serial::PortKind::Serial, &wire));
        let device = Serial::new(&SerialProps::default(), ports).unwrap();
        let mut bus = opened(device, modern());
        bus.request(63, &[b"last"], &[]);
        assert_eq!(wire.received(), b"last");
        wire.send(b"one");
        assert_eq!(bus.request(62, &[], &[3]).bytes, b"one");
    }
}
