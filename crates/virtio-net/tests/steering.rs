//! Several queue pairs: automatic steering, RSS and hash reports.

mod common;

use std::os::unix::net::UnixDatagram;

use common::*;
use testkit::TestBus;
use virtio_device::Features;
use virtio_net::NetProps;

fn several(props: &NetProps, features: Features) -> (TestBus, Vec<UnixDatagram>, Tap) {
    let (net, far, tap) = on_sockets(props, 2);
    let mut bus = TestBus::new(net);
    bus.boot(features | Features::VERSION_1 | CTRL_VQ | MRG_RXBUF | Features::RING_RESET);
    (bus, far, tap)
}

/// An IPv4 packet of UDP from and to these ports.
fn udp(source: u16, destination: u16) -> Vec<u8> {
    let ip = [
        0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
    ];
    let ports = [source, destination].map(u16::to_be_bytes).concat();
    frame(OWN, &[&[8, 0][..], &ip, &ports, &[0, 8, 0, 0]].concat())
}

fn rss(types: u32, table: &[u16], unclassified: u16, sending: u16) -> Vec<u8> {
    let numbers = |numbers: &[u16]| {
        numbers
            .iter()
            .flat_map(|n| n.to_le_bytes())
            .collect::<Vec<_>>()
    };
    let head = numbers(&[table.len().wrapping_sub(1) as u16, unclassified]);
    let tail = numbers(&[sending]);
    let key = [&[40], &pattern(40)[..]].concat();
    [
        &types.to_le_bytes()[..],
        &head,
        &numbers(table),
        &tail,
        &key,
    ]
    .concat()
}

#[test]
fn only_the_first_pair_is_used_until_told() {
    let (mut bus, far, tap) = several(&NetProps::default().mq(true), MQ);
    assert_eq!(bus.read_config(8, 2), [2, 0]);
    let requests = [0, 2].map(|queue| (queue, bus.submit(queue, &[], &[1526])));
    assert_eq!(tap.told(|told| told.lines), 1);
    for far in &far {
        send(far, &udp(1, 2));
    }
    let (queue, request) = &requests[0];
    assert!(received(&mut bus, *queue, request).is_some());
    let (queue, request) = &requests[1];
    assert_eq!(received(&mut bus, *queue, request), None, "not in use");
    assert!(command(&mut bus, 4, 4, 0, &[2, 0]));
    assert_eq!(tap.told(|told| told.lines), 2);
    assert!(received(&mut bus, *queue, request).is_some());
    assert!(command(&mut bus, 4, 4, 0, &[1, 0]));
    let request = bus.submit(2, &[], &[1526]);
    send(&far[1], &udp(1, 2));
    assert_eq!(received(&mut bus, 2, &request), None);
}

#[test]
fn bug_54_more_pairs_than_offered_are_refused() {
    let (mut bus, _far, tap) = several(&everything(), MQ | RSS);
    for pairs in [0, 3, 0x8000, 0xffff] {
        assert!(!command(&mut bus, 4, 4, 0, &u16::to_le_bytes(pairs)));
    }
    assert!(!command(&mut bus, 4, 4, 0, &[2]), "too short");
    tap.told(|told| told.refuses = true);
    assert!(!command(&mut bus, 4, 4, 0, &[2, 0]), "the host refuses");
    tap.told(|told| told.refuses = false);
    for bad in [
        rss(0x1ff, &[0, 2], 0, 2),
        rss(0x1ff, &[0, 1], 2, 2),
        rss(0x1ff, &[0, 1], 0, 3),
        rss(0x1ff, &[0, 1], 0, 0),
        rss(0x200, &[0, 1], 0, 2),
        rss(0x1ff, &[0, 1, 0], 0, 2),
        rss(0x1ff, &[0; 256], 0, 2),
        rss(0x1ff, &[], 0, 2),
    ] {
        assert!(!command(&mut bus, 4, 4, 1, &bad), "{bad:x?}");
    }
    let good = rss(0x1ff, &[0, 1], 0, 2);
    for len in 0..good.len() {
        assert!(
            !command(&mut bus, 4, 4, 1, &good[..len]),
            "cut off at {len}"
        );
    }
    assert!(command(&mut bus, 4, 4, 1, &good));
}

#[test]
fn rss_sends_each_flow_to_one_queue() {
    let (mut bus, far, _) = several(&everything(), MQ | RSS);
    assert!(command(
        &mut bus,
        4,
        4,
        1,
        &rss(1 << 2, &[0, 1, 0, 1], 1, 2)
    ));
    let mut by_queue = [0; 2];
    for port in 0..32 {
        let mut places = Vec::new();
        // Whichever line it comes by.
        for far in &far {
            let requests = [0, 2].map(|queue| bus.submit(queue, &[], &[1526]));
            send(far, &udp(port, 80));
            let there = [0, 2]
                .iter()
                .zip(&requests)
                .map(|(&queue, request)| received(&mut bus, queue, request));
            let there: Vec<_> = there.map(|frame| frame.is_some()).collect();
            places.push(there.iter().position(|&there| there).expect("it arrives"));
            for queue in [0, 2] {
                bus.reset_queue(queue);
                bus.set_up_queue(queue, 256);
            }
        }
        assert_eq!(places[0], places[1]);
        by_queue[places[0]] += 1;
    }
    assert!(by_queue.iter().all(|&flows| flows > 4), "{by_queue:?}");
    let request = bus.submit(2, &[], &[1526]);
    send(&far[0], &frame(OWN, b"\x08\x06 no IP"));
    assert!(received(&mut bus, 2, &request).is_some(), "unclassified");
}

#[test]
fn hashes_are_reported() {
    let (mut bus, far, _) = several(&everything(), HASH_REPORT);
    let report = |bus: &mut TestBus, frame: &[u8]| {
        let request = bus.submit(0, &[], &[1526]);
        send(&far[0], frame);
        let bytes = received(bus, 0, &request).expect("a frame");
        assert_eq!(bytes[20..], *frame);
        let value = u32::from_le_bytes(bytes[12..16].try_into().unwrap());
        (value, u16::from_le_bytes([bytes[16], bytes[17]]))
    };
    assert_eq!(report(&mut bus, &udp(1, 2)), (0, 0), "not yet");
    let config = [&0x1ffu32.to_le_bytes()[..], &[0; 8], &[40], &pattern(40)].concat();
    assert!(command(&mut bus, 2, 4, 2, &config));
    let (first, kind) = report(&mut bus, &udp(1, 2));
    assert_eq!(kind, 3, "UDP over IPv4");
    assert_eq!(report(&mut bus, &udp(1, 2)), (first, 3));
    assert_ne!(report(&mut bus, &udp(1, 3)).0, first);
    assert_eq!(report(&mut bus, &frame(OWN, b"\x08\x06 no IP")), (0, 0));
    assert!(!command(&mut bus, 2, 4, 2, &config[..20]));
}

#[test]
fn a_frame_for_a_queue_that_is_reset_is_dropped() {
    let (mut bus, far, _) = several(&everything(), MQ | RSS);
    assert!(command(&mut bus, 4, 4, 1, &rss(0, &[0], 1, 2)));
    bus.reset_queue(2);
    send(&far[0], &udp(1, 2));
    bus.run();
    assert!(!bus.needs_reset() && !bus.run());
    bus.set_up_queue(2, 256);
    let request = bus.submit(2, &[], &[1526]);
    assert_eq!(received(&mut bus, 2, &request), None, "it is gone");
    send(&far[0], &udp(3, 4));
    assert_eq!(received(&mut bus, 2, &request).unwrap()[12..], udp(3, 4));
}
