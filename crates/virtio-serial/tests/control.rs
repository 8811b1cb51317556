//! The talk about ports (section 5.3.6.2).

mod common;

use common::*;
use testkit::{Segment, TestBus};
use virtio_device::Features;
use virtio_serial::{Port, PortKind};

#[test]
fn driver_hears_of_ports_in_the_order_it_expects() {
    for features in formats() {
        let (console, port) = (Wire::new(), Wire::new());
        let device = console_and_port(&console, &port).with_size(80, 25);
        let mut bus = TestBus::new(device);
        bus.boot(features | SIZE);
        assert_eq!(hear(&mut bus), []);
        tell(&mut bus, 0, DEVICE_READY, 1);
        let added = [(0, PORT_ADD, 1, vec![]), (1, PORT_ADD, 1, vec![])];
        assert_eq!(hear(&mut bus), added);
        tell(&mut bus, 0, PORT_READY, 1);
        let of_console = [
            (0, CONSOLE_PORT, 1, vec![]),
            (0, RESIZE, 0, vec![80, 0, 25, 0]),
            (0, PORT_OPEN, 1, vec![]),
        ];
        assert_eq!(hear(&mut bus), of_console);
        tell(&mut bus, 1, PORT_READY, 1);
        let of_port = [
            (1, PORT_NAME, 1, b"org.test".to_vec()),
            (1, PORT_OPEN, 1, vec![]),
        ];
        assert_eq!(hear(&mut bus), of_port);
        assert_eq!(hear(&mut bus), []);
    }
}

#[test]
fn port_is_added_once_however_often_the_driver_asks() {
    let mut bus = opened(console_and_port(&Wire::new(), &Wire::new()), modern());
    for value in [1, 0, 1] {
        tell(&mut bus, 0, DEVICE_READY, value);
    }
    assert_eq!(hear(&mut bus), []);
}

/// Linux does so after a suspend: it resets the device and takes up the ports that it knows.
#[test]
fn driver_that_comes_back_to_its_ports_hears_of_them() {
    let wire = Wire::new();
    let mut bus = opened(console_and_port(&Wire::new(), &wire), modern());
    bus.reset();
    bus.boot(modern());
    tell(&mut bus, 1, PORT_READY, 1);
    let of_port = [
        (1, PORT_NAME, 1, b"org.test".to_vec()),
        (1, PORT_OPEN, 1, vec![]),
    ];
    assert_eq!(hear(&mut bus), of_port);
    tell(&mut bus, 1, PORT_OPEN, 1);
    bus.request(5, &[b"awake"], &[]);
    assert_eq!(wire.received(), b"awake");
    // The other port is not asked for, and so not told of.
    assert_eq!(hear(&mut bus), []);
}

#[test]
fn driver_that_fails_hears_no_more() {
    let mut bus = TestBus::new(console_and_port(&Wire::new(), &Wire::new()));
    bus.boot(modern());
    tell(&mut bus, 0, DEVICE_READY, 0);
    assert_eq!(hear(&mut bus), []);
    tell(&mut bus, 0, DEVICE_READY, 1);
    assert_eq!(hear(&mut bus).len(), 2);
    tell(&mut bus, 1, PORT_READY, 0);
    assert_eq!(hear(&mut bus), []);
}

#[test]
fn driver_hears_who_comes_and_goes_at_the_host_end() {
    let wire = Wire::unconnected();
    let mut bus = opened(console_and_port(&Wire::new(), &wire), modern());
    assert_eq!(hear(&mut bus), []);
    for _ in 0..3 {
        wire.connect();
        assert_eq!(hear(&mut bus), [(1, PORT_OPEN, 1, vec![])]);
        // A guest that has room reads, and so sees the end.
        bus.submit(4, &[], &[16]);
        wire.hang_up();
        assert_eq!(hear(&mut bus), [(1, PORT_OPEN, 0, vec![])]);
    }
}

#[test]
fn driver_without_buffers_misses_no_change() {
    let wire = Wire::new();
    let mut bus = opened(console_and_port(&Wire::new(), &wire), modern());
    bus.submit(4, &[], &[16]);
    bus.run();
    for _ in 0..5 {
        wire.hang_up();
        bus.run();
        wire.connect();
        bus.run();
    }
    let flap = [(1, PORT_OPEN, 0, vec![]), (1, PORT_OPEN, 1, vec![])];
    assert_eq!(hear(&mut bus), flap);
}

#[test]
fn driver_hears_of_ports_whose_queues_it_left_off() {
    let wire = Wire::unconnected();
    let mut bus = TestBus::new(console_and_port(&Wire::new(), &wire));
    assert!(bus.negotiate(modern()));
    for queue in [2, 3] {
        bus.set_up_queue(queue, 32);
    }
    bus.driver_ok();
    open_all(&mut bus);
    // Resetting a queue has put the worker on another event loop.
    for _ in 0..2 {
        wire.connect();
        assert_eq!(hear(&mut bus), [(1, PORT_OPEN, 1, vec![])]);
        wire.leave();
        tell(&mut bus, 1, PORT_OPEN, 1);
        assert_eq!(hear(&mut bus), [(1, PORT_OPEN, 0, vec![])]);
    }
}

#[test]
fn back_end_hears_who_opens_the_port_in_the_guest() {
    let wire = Wire::new();
    let mut bus = opened(console_and_port(&Wire::new(), &wire), modern());
    for value in [1, 0, 0, 1, 1, 0x100] {
        tell(&mut bus, 1, PORT_OPEN, value);
    }
    assert_eq!(wire.guest(), [true, false, true]);
    bus.reset();
    assert_eq!(wire.guest(), [true, false, true, false]);
}

#[test]
fn console_is_open_whether_or_not_anybody_looks() {
    let mut bus = TestBus::new(serial(vec![Port::console(Wire::unconnected().near())]));
    bus.boot(modern());
    tell(&mut bus, 0, DEVICE_READY, 1);
    tell(&mut bus, 0, PORT_READY, 1);
    let last = hear(&mut bus).pop();
    assert_eq!(last, Some((0, PORT_OPEN, 1, vec![])));
}

#[test]
fn resize_reaches_consoles_and_the_configuration_space() {
    let (wire, others) = (Wire::new(), Wire::new());
    let consoles = [&wire, &others].map(|wire| plain(PortKind::Console, wire));
    let mut ports = Vec::from(consoles);
    ports.push(Port::serial("org.test", Wire::new().near()));
    let device = serial(ports).with_size(80, 24);
    let handle = device.handle();
    let mut bus = opened(device, modern() | SIZE);
    let before = bus.interrupts().config();
    handle.set_size(300, 50);
    let size = vec![0x2c, 1, 50, 0];
    let told = [(0, RESIZE, 0, size.clone()), (1, RESIZE, 0, size.clone())];
    assert_eq!(hear(&mut bus), told);
    assert_eq!(bus.read_config(0, 4), size);
    assert_eq!(bus.interrupts().config(), before + 1);
    handle.set_size(300, 50);
    assert_eq!(hear(&mut bus), []);
    assert_eq!(bus.interrupts().config(), before + 1);
}

#[test]
fn resize_is_not_for_drivers_that_do_not_know_it() {
    let device = console_and_port(&Wire::new(), &Wire::new()).with_size(80, 24);
    let handle = device.handle();
    let mut bus = opened(device, modern());
    let before = bus.interrupts().config();
    handle.set_size(1, 2);
    assert_eq!(hear(&mut bus), []);
    assert_eq!(bus.interrupts().config(), before);
}

#[test]
fn bug_63_message_is_clipped_to_the_buffer() {
    let mut bus = opened(console_and_port(&Wire::new(), &Wire::new()), modern());
    for len in [0, 1, 7, 8, 9, 15] {
        tell(&mut bus, 1, PORT_READY, 1);
        let response = bus.request(2, &[], &[len]);
        let whole = [message(1, PORT_NAME, 1), b"org.test".to_vec()].concat();
        assert_eq!(response.len, len);
        assert_eq!(response.bytes, whole[..len as usize]);
        hear(&mut bus);
    }
    // In pieces, and in part of a buffer.
    tell(&mut bus, 1, PORT_READY, 1);
    assert_eq!(bus.request(2, &[b"read"], &[1, 7, 0, 100]).len, 16);
}

#[test]
fn bug_65_nothing_is_lost_before_the_driver_is_there() {
    let wire = Wire::new();
    let device = console_and_port(&wire, &Wire::new()).with_size(1, 1);
    let handle = device.handle();
    for size in 2..1000 {
        handle.set_size(size, size);
    }
    wire.send(b"typed early");
    let mut bus = TestBus::new(device);
    bus.boot(modern() | SIZE);
    for size in 2..1000 {
        handle.set_size(size, 7);
        bus.run();
    }
    tell(&mut bus, 0, DEVICE_READY, 1);
    tell(&mut bus, 0, PORT_READY, 1);
    let messages = hear(&mut bus);
    let sizes = messages.iter().filter(|(_, event, ..)| *event == RESIZE);
    assert_eq!(
        sizes.map(|(.., size)| &size[..]).collect::<Vec<_>>(),
        [[0xe7, 3, 7, 0]]
    );
    tell(&mut bus, 0, PORT_OPEN, 1);
    assert_eq!(bus.request(0, &[], &[64]).len, 11);
}

#[test]
fn bug_65_messages_out_of_order_or_of_no_port_do_no_harm() {
    let wire = Wire::new();
    let mut bus = TestBus::new(console_and_port(&Wire::new(), &wire));
    bus.boot(modern());
    tell(&mut bus, 1, PORT_OPEN, 1);
    for port in [2, 3, 4, 31, 0x1_0000, 0x1_0001, u32::MAX] {
        for event in (0..10)
            .chain([u16::MAX])
            .filter(|&event| event != DEVICE_READY)
        {
            tell(&mut bus, port, event, 1);
        }
    }
    for short in [&b""[..], b"\0", b"\0\0\0\0\0\0\0"] {
        assert_eq!(bus.request(3, &[short], &[0]).len, 0);
    }
    assert_eq!(hear(&mut bus), []);
    tell(&mut bus, 1, PORT_READY, 1);
    let of_port = [
        (1, PORT_NAME, 1, b"org.test".to_vec()),
        (1, PORT_OPEN, 1, vec![]),
    ];
    assert_eq!(hear(&mut bus), of_port);
    tell(&mut bus, 0, DEVICE_READY, 1);
    assert_eq!(hear(&mut bus), [(0, PORT_ADD, 1, vec![])]);
    wire.send(b"x");
    assert_eq!(bus.request(4, &[], &[1]).bytes, b"x");
    assert!(!bus.needs_reset());
}

#[test]
fn bug_65_flood_of_messages_leaves_nothing_behind() {
    let mut bus = opened(console_and_port(&Wire::new(), &Wire::new()), modern());
    for _ in 0..500 {
        tell(&mut bus, 1, PORT_READY, 1);
        tell(&mut bus, 0, PORT_READY, 1);
    }
    assert_eq!(hear(&mut bus).len(), 4);
}

#[test]
fn bug_23_message_in_any_pieces_is_the_same() {
    let mut bus = TestBus::new(console_and_port(&Wire::new(), &Wire::new()));
    bus.boot(modern());
    let ready = message(0, DEVICE_READY, 1);
    let pieces: Vec<_> = ready.chunks(1).collect();
    bus.request(3, &pieces, &[]);
    assert_eq!(hear(&mut bus).len(), 2);
}

#[test]
fn message_that_is_no_memory_needs_a_reset_and_no_more() {
    for queue in [2, 3] {
        let wire = Wire::new();
        let mut bus = opened(console_and_port(&Wire::new(), &wire), modern());
        let (address, len) = (testkit::END, 16);
        let writable = queue == 2;
        bus.queue(queue)
            .add(&[Segment {
                address,
                len,
                writable,
            }])
            .unwrap();
        bus.queue(queue).publish();
        bus.notify(queue);
        tell_if_unbroken(&mut bus, queue);
        bus.run();
        assert_eq!(bus.queue(queue).collect().map(|used| used.len), Some(0));
        assert!(bus.needs_reset());
        bus.request(5, &[b"still there"], &[]);
        assert_eq!(wire.received(), b"still there");
    }
}

fn tell_if_unbroken(bus: &mut TestBus, queue: u16) {
    if queue == 2 {
        tell(bus, 1, PORT_READY, 1);
    }
}

#[test]
fn driver_that_knows_one_port_has_it_open() {
    let (wire, other) = (Wire::new(), Wire::new());
    let mut bus = TestBus::new(console_and_port(&wire, &other));
    bus.boot(Features::VERSION_1);
    wire.send(b"login");
    assert_eq!(bus.request(0, &[], &[5]).bytes, b"login");
    bus.request(1, &[b"root"], &[]);
    assert_eq!(wire.received(), b"root");
    // It has no control queues, whatever it thinks.
    bus.submit(3, &[&message(0, PORT_OPEN, 0)], &[]);
    bus.submit(2, &[], &[64]);
    bus.run();
    assert!(!bus.queue(2).has_used() && !bus.queue(3).has_used());
    wire.send(b"!");
    assert_eq!(bus.request(0, &[], &[5]).len, 1);
}
