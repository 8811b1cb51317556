//! Pause, saved state, reset, queue reset: nothing that was taken is lost, and nothing stays.

mod common;

use common::*;
use testkit::{Options, Segment, TestBus};
use virtio_device::{Error, SavedState, VirtioDevice};

/// Saves the device behind `bus` and goes on with `device`.
fn move_to(mut bus: TestBus, device: virtio_serial::Serial) -> TestBus {
    bus.core().pause();
    let state = bus.core().save().unwrap();
    let mut bus = bus.successor(device, Options::default());
    bus.core().restore(&state).unwrap();
    bus.core().resume();
    bus.run();
    bus
}

#[test]
fn write_that_is_half_done_survives_a_pause() {
    for features in formats() {
        let wire = Wire::with_room(4);
        let mut bus = opened(console_and_port(&Wire::new(), &wire), features);
        for chunk in [b"abcdef", b"ghijkl", b"mnopqr"] {
            bus.submit(5, &[chunk], &[]);
        }
        bus.run();
        for _ in 0..3 {
            bus.core().pause();
            assert_eq!(bus.core().save().unwrap(), bus.core().save().unwrap());
            bus.core().resume();
            bus.run();
            wire.set_room(1);
            bus.run();
        }
        wire.set_room(usize::MAX);
        bus.run();
        assert_eq!(wire.received(), b"abcdefghijklmnopqr");
        assert_eq!(std::iter::from_fn(|| bus.queue(5).collect()).count(), 3);
    }
}

#[test]
fn write_that_is_half_done_survives_a_move() {
    for features in formats() {
        let (old, new) = (Wire::with_room(4), Wire::new());
        let mut bus = opened(console_and_port(&Wire::new(), &old), features);
        bus.submit(5, &[b"abcdef"], &[]);
        bus.submit(5, &[b"ghi"], &[]);
        bus.run();
        let mut bus = move_to(bus, console_and_port(&Wire::new(), &new));
        assert_eq!(old.received(), b"abcd");
        assert_eq!(new.received(), b"efghi");
        assert_eq!(std::iter::from_fn(|| bus.queue(5).collect()).count(), 2);
    }
}

#[test]
fn write_too_long_to_be_kept_survives_a_pause_and_is_not_saved() {
    for features in formats() {
        let wire = Wire::with_room(5);
        let mut bus = opened(console_and_port(&Wire::new(), &wire), features);
        let data = pattern((1 << 20) + 10);
        bus.submit(5, &[&data], &[]);
        bus.run();
        bus.core().pause();
        assert!(matches!(bus.core().save(), Err(Error::Misuse(_))));
        bus.core().resume();
        bus.run();
        wire.set_room(100);
        bus.run();
        // What is left is short enough now.
        bus.core().pause();
        assert!(bus.core().save().is_ok());
        bus.core().resume();
        wire.set_room(usize::MAX);
        bus.run();
        assert!(wire.received() == data);
        assert!(bus.queue(5).collect().is_some());
    }
}

#[test]
fn bytes_taken_from_the_host_survive_a_pause_and_a_move() {
    for features in formats() {
        let wire = Wire::new();
        let mut bus = opened(console_and_port(&Wire::new(), &wire), features);
        let data = pattern(1000);
        wire.send(&data);
        let mut got = bus.request(4, &[], &[10]).bytes;
        assert_eq!(wire.waiting(), 0);
        bus.core().pause();
        bus.core().resume();
        got.extend(bus.request(4, &[], &[10]).bytes);
        let mut bus = move_to(bus, console_and_port(&Wire::new(), &Wire::new()));
        got.extend(bus.request(4, &[], &[980]).bytes);
        assert_eq!(got, data);
    }
}

#[test]
fn messages_that_are_due_survive_a_move() {
    let mut bus = TestBus::new(console_and_port(&Wire::new(), &Wire::new()));
    bus.boot(modern());
    tell(&mut bus, 0, DEVICE_READY, 1);
    assert_eq!(bus.request(2, &[], &[8]).bytes, message(0, PORT_ADD, 1));
    tell(&mut bus, 0, PORT_READY, 1);
    let mut bus = move_to(bus, console_and_port(&Wire::new(), &Wire::unconnected()));
    let rest = [
        (0, CONSOLE_PORT, 1, vec![]),
        (0, PORT_OPEN, 1, vec![]),
        (1, PORT_ADD, 1, vec![]),
    ];
    assert_eq!(hear(&mut bus), rest);
}

#[test]
fn guest_hears_that_the_host_end_is_another_after_a_move() {
    for connected in [false, true] {
        let bus = opened(console_and_port(&Wire::new(), &Wire::new()), modern());
        let new = match connected {
            true => Wire::new(),
            false => Wire::unconnected(),
        };
        let mut bus = move_to(bus, console_and_port(&Wire::new(), &new));
        let opened = new.guest();
        assert_eq!(
            opened,
            [true],
            "the new back-end knows that the guest has it open"
        );
        let port = hear(&mut bus).into_iter().filter(|(port, ..)| *port == 1);
        let values: Vec<_> = port.map(|(_, event, value, _)| (event, value)).collect();
        let open = [(PORT_OPEN, 0), (PORT_OPEN, 1)];
        assert_eq!(values, open[..1 + usize::from(connected)]);
    }
}

#[test]
fn size_of_the_new_terminal_is_told_after_a_move() {
    let device = |cols| console_and_port(&Wire::new(), &Wire::new()).with_size(cols, 9);
    let bus = opened(device(80), modern() | SIZE);
    let mut bus = move_to(bus, device(132));
    let messages = hear(&mut bus);
    assert!(
        messages.contains(&(0, RESIZE, 0, vec![132, 0, 9, 0])),
        "{messages:?}"
    );
}

#[test]
fn bug_35_reset_leaves_nothing_of_the_driver() {
    let (console, wire) = (Wire::new(), Wire::with_room(2));
    let mut bus = opened(console_and_port(&console, &wire), modern());
    wire.send(&pattern(100));
    bus.request(4, &[], &[1]);
    bus.submit(5, &[b"stuck"], &[]);
    bus.run();
    tell(&mut bus, 1, PORT_READY, 1);
    bus.reset();
    wire.set_room(usize::MAX);
    assert_eq!(wire.received(), b"st");
    bus.boot(modern());
    bus.run();
    assert_eq!(hear(&mut bus), []);
    assert_eq!(wire.received(), b"");
    let request = bus.submit(4, &[], &[200]);
    bus.run();
    assert!(!bus.queue(4).has_used(), "the port is closed again");
    open_all(&mut bus);
    wire.send(b"new");
    bus.run();
    let used = bus.queue(4).collect().unwrap();
    assert_eq!(bus.response(&request, used).bytes[..3], *b"new");
}

#[test]
fn bytes_that_the_guest_counts_as_sent_have_a_last_chance_at_a_reset() {
    let wire = Wire::with_room(2);
    let mut bus = opened(console_and_port(&wire, &Wire::new()), modern());
    bus.submit(1, &[b"rebooting"], &[]);
    bus.run();
    bus.core().pause();
    wire.set_room(usize::MAX);
    bus.core().resume();
    bus.reset();
    assert_eq!(wire.received(), b"rebooting");
}

#[test]
fn queue_reset_forgets_what_is_half_done_in_it() {
    for features in formats() {
        let wire = Wire::with_room(5);
        let mut bus = opened(console_and_port(&Wire::new(), &wire), features);
        // Too long to be kept: it stays in the queue.
        let data = pattern(2 << 20);
        bus.submit(5, &[&data], &[]);
        bus.run();
        // With or without a look at the device before the queue is back.
        for run in [true, false] {
            bus.core().reset_queue(5);
            if run {
                bus.run();
            }
            bus.set_up_queue(5, 16);
            wire.set_room(usize::MAX);
            bus.run();
            assert_eq!(wire.received(), data[..5]);
            wire.set_room(5);
            bus.submit(5, &[&data], &[]);
            bus.run();
        }
        bus.reset_queue(5);
        bus.set_up_queue(5, 16);
        wire.set_room(usize::MAX);
        bus.run();
        assert_eq!(wire.received(), data[..5]);
        bus.request(5, &[b"anew"], &[]);
        assert_eq!(wire.received(), b"anew");
        assert!(!bus.needs_reset());
    }
}

#[test]
fn bug_07_stop_takes_no_time_whatever_a_back_end_does() {
    let wire = Wire::with_room(0);
    let mut bus = opened(console_and_port(&wire, &wire), modern());
    for queue in [1, 5] {
        let (address, len, writable) = (0, testkit::END as u32, false);
        let huge = Segment {
            address,
            len,
            writable,
        };
        bus.queue(queue).add(&[huge; 2]).unwrap();
        bus.queue(queue).publish();
        bus.notify(queue);
    }
    bus.run();
    bus.core().pause();
    bus.core().resume();
    bus.reset();
    bus.boot(modern());
}

#[test]
fn emergency_write_works_at_any_time() {
    let wire = Wire::new();
    let device = console_and_port(&wire, &Wire::new());
    let mut bus = TestBus::new(device);
    bus.core().write_config(8, b"a\0\0\0");
    assert_eq!(wire.received(), b"a");
    bus.boot(modern());
    for (offset, data) in [
        (8, &b"b"[..]),
        (8, b"c\x01\x02\x03"),
        (9, b"x"),
        (4, b"xxxxy"),
        (8, b""),
    ] {
        bus.core().write_config(offset, data);
    }
    bus.run();
    assert_eq!(wire.received(), b"bc");
    bus.core().pause();
    bus.core().write_config(8, b"d");
    assert_eq!(wire.received(), b"d");
    assert_eq!(bus.read_config(8, 4), [0; 4]);
}

#[test]
fn emergency_writes_without_end_are_bounded_and_those_unoffered_ignored() {
    let wire = Wire::new();
    let mut bus = opened(console_and_port(&wire, &Wire::new()), modern());
    for _ in 0..100_000 {
        bus.core().write_config(8, b"!");
    }
    bus.run();
    assert_eq!(wire.received().len(), 4096);
    let props = virtio_serial::SerialProps::default().emergency_write(false);
    let ports = vec![virtio_serial::Port::console(wire.near())];
    let mut bus = TestBus::new(virtio_serial::Serial::new(&props, ports).unwrap());
    assert_eq!(bus.core().config().len(), 8);
    bus.core().write_config(8, b"!");
    assert_eq!(wire.received(), b"");
}

#[test]
fn bug_79_state_of_another_device_is_refused() {
    let mut bus = opened(console_and_port(&Wire::new(), &Wire::new()), modern());
    bus.core().pause();
    let good = bus.core().save().unwrap().device;
    let mut device = console_and_port(&Wire::new(), &Wire::new());
    let fresh = device.save().unwrap();
    for len in 0..good.bytes.len() {
        let short = SavedState::new(&good.kind, good.version, good.bytes[..len].to_vec());
        assert!(device.restore(&short).is_err());
    }
    let mut others = vec![good.clone(); 4];
    others[0].bytes.push(0);
    others[1].kind = "virtio-blk".to_owned();
    others[2].version += 1;
    others[3].bytes[0] = 2;
    assert!(others.iter().all(|state| device.restore(state).is_err()));
    assert!(serial(Vec::new()).restore(&good).is_err());
    assert_eq!(device.save().unwrap(), fresh);
    assert!(device.restore(&good).is_ok());
    assert_eq!(device.save().unwrap(), good);
}

#[test]
fn bug_79_lengths_in_a_state_are_not_believed() {
    let mut device = serial(vec![plain(virtio_serial::PortKind::Console, &Wire::new())]);
    let good = device.save().unwrap();
    for (at, limit) in [(6, 64 << 10), (10, 1 << 20)] {
        for len in [limit + 1, u32::MAX as usize] {
            let mut state = good.clone();
            state.bytes[at..at + 4].copy_from_slice(&(len as u32).to_le_bytes());
            state
                .bytes
                .splice(at + 4..at + 4, vec![0; len.min(2 << 20)]);
            assert!(device.restore(&state).is_err());
        }
        let mut state = good.clone();
        state.bytes[at..at + 4].copy_from_slice(&(limit as u32).to_le_bytes());
        state.bytes.splice(at + 4..at + 4, vec![0; limit]);
        assert!(device.restore(&state).is_ok());
    }
}
