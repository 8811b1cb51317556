//! Commands.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use common::*;
use testkit::{Segment, TestBus};
use virtio_device::Features;
use virtio_net::{NetProps, Reception};

const BROADCAST: [u8; 6] = [0xff; 6];
const GROUP: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 1];

fn filtering() -> Features {
    CTRL_VQ | CTRL_RX | CTRL_RX_EXTRA | CTRL_VLAN | CTRL_MAC_ADDR
}

/// Which of these frames arrive.
fn passes(
    bus: &mut TestBus,
    far: &std::os::unix::net::UnixDatagram,
    frames: &[Vec<u8>],
) -> Vec<bool> {
    let mut passed = Vec::new();
    for frame in frames {
        let request = bus.submit(0, &[], &[1526]);
        send(far, frame);
        passed.push(received(bus, 0, &request).is_some());
        bus.reset_queue(0);
        bus.set_up_queue(0, 256);
    }
    passed
}

fn to(destination: [u8; 6]) -> Vec<u8> {
    frame(destination, b"\x08\x00 payload")
}

fn tagged(vlan: u16) -> Vec<u8> {
    let [a, b] = (vlan | 0x2000).to_be_bytes();
    frame(OWN, &[0x81, 0, a, b, 8, 0, 1, 2, 3])
}

#[test]
fn receive_modes_are_applied() {
    let (mut bus, far) = running(&NetProps::default(), filtering());
    let kinds = [OWN, OTHER, GROUP, BROADCAST].map(to);
    let steps: &[(u8, u8, [bool; 4])] = &[
        (0, 1, [true, true, true, true]),
        (0, 0, [true, false, false, true]),
        (1, 1, [true, false, true, true]),
        (2, 1, [true, true, true, true]),
        (3, 1, [true, true, false, true]),
        (4, 1, [false, false, false, true]),
        (5, 1, [false, false, false, false]),
        (0, 1, [true, true, true, true]),
    ];
    for &(mode, on, expected) in steps {
        assert!(command(&mut bus, 2, 0, mode, &[on]));
        assert_eq!(passes(&mut bus, &far, &kinds), expected, "mode {mode}");
    }
    assert!(!command(&mut bus, 2, 0, 6, &[1]), "no such mode");
    assert!(!command(&mut bus, 2, 0, 0, &[]), "too short");
}

#[test]
fn tables_of_addresses_are_applied() {
    let (mut bus, far) = running(&NetProps::default(), filtering());
    assert!(command(&mut bus, 2, 0, 0, &[0]));
    let kinds = [OWN, OTHER, GROUP, BROADCAST].map(to);
    let table = |uni: &[[u8; 6]], multi: &[[u8; 6]]| {
        let part =
            |macs: &[[u8; 6]]| [&(macs.len() as u32).to_le_bytes()[..], &macs.concat()].concat();
        [part(uni), part(multi)].concat()
    };
    assert!(command(&mut bus, 2, 1, 0, &table(&[OTHER], &[GROUP])));
    assert_eq!(passes(&mut bus, &far, &kinds), [true; 4]);
    assert!(command(&mut bus, 2, 1, 0, &table(&[], &[[1; 6]])));
    assert_eq!(passes(&mut bus, &far, &kinds), [true, false, false, true]);
    assert!(command(&mut bus, 2, 1, 0, &table(&[], &[[1; 6]; 65])));
    assert_eq!(
        passes(&mut bus, &far, &kinds),
        [true, false, true, true],
        "too many to remember"
    );
    let good = table(&[OTHER], &[GROUP]);
    for len in 0..good.len() {
        assert!(
            !command(&mut bus, 2, 1, 0, &good[..len]),
            "cut off at {len}"
        );
    }
    assert!(
        !command(&mut bus, 2, 1, 0, &[0xff; 8]),
        "more than there are"
    );
    assert_eq!(
        passes(&mut bus, &far, &kinds),
        [true, false, true, true],
        "nothing changed"
    );
    assert!(command(&mut bus, 2, 1, 1, &OTHER));
    assert_eq!(bus.read_config(0, 6), OTHER);
    assert_eq!(passes(&mut bus, &far, &kinds), [false, true, true, true]);
    bus.reset();
    assert_eq!(bus.read_config(0, 6), OWN);
}

#[test]
fn vlans_are_filtered_if_that_was_negotiated() {
    let (mut bus, far) = running(&NetProps::default(), filtering());
    let frames = [to(OWN), tagged(5), tagged(6)];
    assert!(command(&mut bus, 2, 0, 0, &[0]));
    assert_eq!(passes(&mut bus, &far, &frames), [true, false, false]);
    assert!(command(&mut bus, 2, 2, 0, &5u16.to_le_bytes()));
    assert_eq!(passes(&mut bus, &far, &frames), [true, true, false]);
    assert!(command(&mut bus, 2, 2, 1, &5u16.to_le_bytes()));
    assert_eq!(passes(&mut bus, &far, &frames), [true, false, false]);
    assert!(!command(&mut bus, 2, 2, 0, &4096u16.to_le_bytes()));
    let (mut bus, far) = running(&NetProps::default(), CTRL_VQ | CTRL_RX);
    assert!(command(&mut bus, 2, 0, 0, &[0]));
    assert_eq!(passes(&mut bus, &far, &frames), [true; 3]);
    assert!(
        !command(&mut bus, 2, 2, 0, &5u16.to_le_bytes()),
        "not negotiated"
    );
}

#[test]
fn commands_that_were_not_negotiated_fail() {
    let (mut bus, _far) = running(&everything(), CTRL_VQ);
    for class in 0..=8 {
        for number in 0..=6 {
            let data = [0; 64];
            assert!(
                !command(&mut bus, 2, class, number, &data),
                "{class} {number}"
            );
        }
    }
    assert!(!bus.needs_reset());
}

#[test]
fn commands_of_any_shape_do_no_harm() {
    let (mut bus, _far) = running(&everything(), everything_negotiated());
    for (readable, writable) in [(0, 1), (1, 1), (2, 0), (3, 0), (70_000, 1)] {
        let response = bus.request(2, &[&vec![0; readable]], &[writable]);
        assert_eq!(response.len, writable, "an answer where there is room");
        assert!(
            response.bytes.iter().all(|&byte| byte == 1),
            "and no success"
        );
    }
    let outside = [Segment {
        address: testkit::END,
        len: 3,
        writable: false,
    }];
    bus.queue(2).add(&outside);
    bus.queue(2).publish();
    bus.notify(2);
    bus.run();
    assert!(bus.needs_reset());
}

fn everything_negotiated() -> Features {
    filtering() | NOTF_COAL | VQ_NOTF_COAL | MQ | MRG_RXBUF
}

#[test]
fn the_filter_can_be_asked_for() {
    let (net, _far, _) = on_sockets(&NetProps::default(), 1);
    let (handle, changes) = (net.handle(), Arc::new(AtomicU32::new(0)));
    let counter = Arc::clone(&changes);
    handle.watch_filter(move || {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    let mut bus = TestBus::new(net);
    bus.boot(Features::VERSION_1 | filtering());
    assert!(handle.filter().promiscuous);
    assert!(command(&mut bus, 2, 0, 0, &[0]));
    assert!(command(&mut bus, 2, 0, 1, &[1]));
    assert!(command(&mut bus, 2, 2, 0, &7u16.to_le_bytes()));
    assert!(command(&mut bus, 2, 1, 1, &OTHER));
    let report = handle.filter();
    assert_eq!(
        (report.unicast, report.multicast),
        (Reception::Normal, Reception::All)
    );
    assert_eq!((report.vlans, report.main_mac.0), (Some(vec![7]), OTHER));
    assert_eq!(changes.load(Ordering::Relaxed), 4);
    assert_eq!(handle.mac().0, OTHER);
}

#[test]
fn a_legacy_driver_writes_its_address() {
    let (net, _far, _) = on_sockets(&NetProps::default(), 1);
    let handle = net.handle();
    let options = testkit::Options {
        legacy: Some(virtio_device::ByteOrder::Little),
        ..testkit::Options::default()
    };
    let mut bus = TestBus::with(net, options);
    bus.boot(MRG_RXBUF);
    for (offset, &byte) in OTHER.iter().enumerate() {
        bus.core().write_config(offset as u64, &[byte]);
    }
    bus.core().write_config(6, &[0, 0]);
    assert_eq!(
        (handle.mac().0, bus.read_config(0, 8)),
        (OTHER, [&OTHER[..], &[1, 0]].concat())
    );
    let (mut bus, _far) = running(&NetProps::default(), CTRL_VQ);
    bus.core().write_config(0, &OTHER);
    assert_eq!(
        bus.read_config(0, 6),
        OWN,
        "a modern one has a command for it"
    );
}

#[test]
fn coalesced_interrupts_come_late_or_many_at_once() {
    let (net, far, _) = on_sockets(&everything(), 1);
    let mut bus = TestBus::new(net);
    bus.boot(Features::VERSION_1 | everything_negotiated());
    let parameters =
        |packets: u32, usecs: u32| [packets.to_le_bytes(), usecs.to_le_bytes()].concat();
    assert!(command(&mut bus, 2, 6, 1, &parameters(4, 50_000)));
    bus.run();
    let deliver = |bus: &mut TestBus| {
        let request = bus.submit(0, &[], &[1526]);
        send(&far[0], &to(OWN));
        assert!(received(bus, 0, &request).is_some());
    };
    let before = bus.interrupts().queue(0);
    (0..3).for_each(|_| deliver(&mut bus));
    assert_eq!(bus.interrupts().queue(0), before, "too few");
    deliver(&mut bus);
    assert_eq!(bus.interrupts().queue(0), before + 1, "enough");
    deliver(&mut bus);
    assert!(
        bus.run_until(|bus| bus.interrupts().queue(0) == before + 2),
        "in time"
    );
    assert!(command(&mut bus, 2, 6, 1, &parameters(0, 0)));
    deliver(&mut bus);
    assert_eq!(bus.interrupts().queue(0), before + 3);
}

#[test]
fn coalescing_is_set_and_asked_for_queue_by_queue() {
    let (mut bus, _far) = running(&everything(), everything_negotiated());
    let get = |bus: &mut TestBus, queue: u16| {
        let response = bus.request(
            2,
            &[&[6, 3], &[queue.to_le_bytes(), [0; 2]].concat()],
            &[8, 1],
        );
        match response.len {
            9 if response.bytes[8] == 0 => Some(response.bytes[..8].to_vec()),
            _ => {
                assert_eq!((response.len, response.bytes[0]), (1, 1));
                None
            }
        }
    };
    let set = |queue: u16, values: [u32; 2]| {
        [
            &queue.to_le_bytes()[..],
            &[9, 9],
            &values.map(u32::to_le_bytes).concat(),
        ]
        .concat()
    };
    assert_eq!(get(&mut bus, 0), Some(vec![0; 8]));
    assert!(command(&mut bus, 2, 6, 0, &[3, 0, 0, 0, 5, 0, 0, 0]));
    assert!(command(&mut bus, 2, 6, 2, &set(1, [7, 8])));
    assert_eq!(get(&mut bus, 1), Some(vec![7, 0, 0, 0, 8, 0, 0, 0]));
    assert!(
        !command(&mut bus, 2, 6, 2, &set(2, [7, 8])),
        "the control queue"
    );
    assert!(!command(&mut bus, 2, 6, 2, &set(77, [7, 8])));
    assert_eq!(get(&mut bus, 77), None);
    bus.reset_queue(1);
    bus.run();
    assert_eq!(get(&mut bus, 1), None, "disabled");
    bus.set_up_queue(1, 256);
    bus.run();
    assert_eq!(
        get(&mut bus, 1),
        Some(vec![3, 0, 0, 0, 5, 0, 0, 0]),
        "as for all"
    );
    std::thread::sleep(Duration::from_millis(1));
    bus.run();
}
