//! Ports that come and go while the driver uses the device.

mod common;

use common::*;
use virtio_device::VirtioDevice;
use virtio_serial::{Port, PortKind, PortProps};

const DEVICE_READY: u16 = 0;
const PORT_ADD: u16 = 1;
const PORT_REMOVE: u16 = 2;
const PORT_READY: u16 = 3;
const PORT_OPEN: u16 = 6;
const PORT_NAME: u16 = 7;

/// Whether the device has let go of the near end of a wire.
fn is_free(wire: &Wire, opened: usize) -> bool {
    wire.guest().iter().filter(|open| !**open).count() == opened
}

#[test]
fn driver_hears_of_ports_that_come_and_go() {
    for format in formats() {
        let console = Wire::new();
        let device = console_and_port(&console, &Wire::new());
        let handle = device.handle();
        let mut bus = opened(device, format);
        hear(&mut bus);
        for round in 1..=3 {
            let wire = Wire::echo();
            let number = handle.add_port(Port::serial("late", wire.near())).unwrap();
            assert_eq!(number, 2);
            assert_eq!(hear(&mut bus), [(2, PORT_ADD, 1, vec![])], "{round}");
            tell(&mut bus, 2, PORT_READY, 1);
            let named = (2, PORT_NAME, 1, b"late".to_vec());
            assert_eq!(hear(&mut bus), [named, (2, PORT_OPEN, 1, vec![])]);
            tell(&mut bus, 2, PORT_OPEN, 1);
            assert!(handle.remove_port(2));
            assert_eq!(hear(&mut bus), [(2, PORT_REMOVE, 1, vec![])]);
            assert!(is_free(&wire, 1));
            assert!(!handle.remove_port(2));
        }
    }
}

#[test]
fn a_new_port_carries_bytes() {
    let device = console_and_port(&Wire::new(), &Wire::new());
    let handle = device.handle();
    let mut bus = opened(device, modern());
    let wire = Wire::new();
    handle.add_port(Port::serial("late", wire.near())).unwrap();
    hear(&mut bus);
    tell(&mut bus, 2, PORT_READY, 1);
    tell(&mut bus, 2, PORT_OPEN, 1);
    // Port 2 has the queues 6 and 7.
    bus.request(7, &[b"out"], &[]);
    assert_eq!(wire.received(), b"out");
    wire.send(b"in");
    assert_eq!(bus.request(6, &[], &[16]).bytes[..2], *b"in");
}

#[test]
fn a_buffer_that_waits_for_a_port_that_goes_is_given_back() {
    let device = console_and_port(&Wire::new(), &Wire::with_room(4));
    let handle = device.handle();
    let mut bus = opened(device, modern());
    tell(&mut bus, 1, PORT_OPEN, 1);
    bus.submit(5, &[&pattern(100)], &[]);
    bus.run();
    assert!(!bus.queue(5).has_used());
    assert!(handle.remove_port(1));
    bus.run();
    assert_eq!(bus.queue(5).collect().unwrap().len, 0);
    // What comes later is lost, and given back as well.
    assert_eq!(bus.request(5, &[b"late"], &[]).len, 0);
}

#[test]
fn ports_change_while_no_driver_is_there() {
    let wire = Wire::new();
    let device = console_and_port(&Wire::new(), &wire);
    let handle = device.handle();
    assert!(handle.remove_port(1));
    let number = handle.add_port(Port::serial("other", Wire::new().near()));
    assert_eq!(number.unwrap(), 1);
    assert!(device.save().is_ok(), "no driver is owed a message");
    let mut bus = testkit::TestBus::new(device);
    bus.boot(modern());
    tell(&mut bus, 0, DEVICE_READY, 1);
    let added = |port| (port, PORT_ADD, 1, vec![]);
    assert_eq!(
        hear(&mut bus),
        [added(0), added(1)],
        "and of none that is gone"
    );
}

#[test]
fn a_port_that_does_not_fit_beside_the_others_is_refused() {
    let device = console_and_port(&Wire::new(), &Wire::new());
    let handle = device.handle();
    let named = |name: &str, nr| {
        let props = PortProps::default().name(Some(name.to_owned())).nr(nr);
        Port::new(PortKind::Serial, props, Box::new(Wire::new().near()))
    };
    handle.add_port(named("a", 3)).unwrap();
    for port in [named("a", 2), named("b", 3), named("b", 0), named("b", 31)] {
        assert!(handle.add_port(port).is_err());
    }
    assert!(handle.remove_port(3));
    assert_eq!(handle.add_port(named("a", 3)).unwrap(), 3);
}
