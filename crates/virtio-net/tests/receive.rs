//! Frames from the host to the guest.

mod common;

use common::*;
use testkit::{Options, TestBus};
use virtio_device::{ByteOrder, Features};
use virtio_net::{NetProps, Offloads};

#[test]
fn bug_23_frames_arrive_whatever_the_segmentation() {
    let (mut bus, far) = running(&NetProps::default(), MRG_RXBUF);
    let frame = frame(OWN, &pattern(300));
    for sizes in [vec![400], vec![1, 399], vec![0, 12, 0, 400], vec![3; 200]] {
        let request = bus.submit(0, &[], &sizes);
        send(&far, &frame);
        let bytes = received(&mut bus, 0, &request).expect("a frame");
        assert_eq!(bytes[..12], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
        assert_eq!(bytes[12..], frame);
    }
}

#[test]
fn a_long_frame_fills_buffers_in_order() {
    let (mut bus, far) = running(&NetProps::default(), MRG_RXBUF);
    let frame = frame(OWN, &pattern(20_000));
    // The second time it is expected, and goes straight into the buffers.
    for _ in 0..3 {
        let requests: Vec<_> = (0..32).map(|_| bus.submit(0, &[], &[1000])).collect();
        send(&far, &frame);
        let mut bytes = Vec::new();
        for (number, request) in requests.iter().take(21).enumerate() {
            let part = received(&mut bus, 0, request).expect("a buffer");
            assert_eq!(part.len(), if number < 20 { 1000 } else { 24 });
            bytes.extend(part);
        }
        assert_eq!(bytes[10..12], [21, 0], "num_buffers");
        assert_eq!(bytes[12..], frame);
        bus.reset_queue(0);
        bus.set_up_queue(0, 256);
        bus.run();
    }
}

#[test]
fn bug_57_starved_guest_goes_on_when_it_has_room_again() {
    let (mut bus, far) = running(&NetProps::default(), MRG_RXBUF);
    let long = frame(OWN, &pattern(5000));
    send(&far, &long);
    let first = bus.submit(0, &[], &[2000]);
    bus.run();
    assert!(
        !bus.queue(0).has_used() && !bus.run(),
        "it waits, nothing spins"
    );
    let others: Vec<_> = (0..2).map(|_| bus.submit(0, &[], &[2000])).collect();
    let mut bytes = received(&mut bus, 0, &first).unwrap();
    for request in &others {
        bytes.extend(received(&mut bus, 0, request).unwrap());
    }
    assert_eq!((bytes[10], &bytes[12..]), (3, &long[..]));
    for number in 0..20u8 {
        send(&far, &frame(OWN, &[number; 50]));
    }
    bus.run();
    assert!(!bus.run(), "without buffers nothing is read");
    for number in 0..20u8 {
        let request = bus.submit(0, &[], &[1526]);
        let bytes = received(&mut bus, 0, &request).expect("one after the other");
        assert_eq!(bytes[24..], [number; 50]);
    }
}

#[test]
fn bug_55_short_buffers_cost_nothing_but_themselves() {
    let (mut bus, far) = running(&NetProps::default(), MRG_RXBUF);
    for len in [1, 11, 12] {
        let short = bus.submit(0, &[], &[len]);
        let good = bus.submit(0, &[], &[1526]);
        send(&far, &frame(OWN, b"\x08\x00 short"));
        assert!(received(&mut bus, 0, &short).unwrap().is_empty());
        assert_eq!(received(&mut bus, 0, &good).unwrap().len(), 12 + 12 + 8);
    }
    assert!(!bus.needs_reset());
}

#[test]
fn without_mergeable_buffers_a_frame_has_one() {
    let (mut bus, far) = running(&NetProps::default(), Features::NONE);
    let requests = [1526, 1526].map(|len| bus.submit(0, &[], &[len]));
    send(&far, &frame(OWN, &pattern(3000)));
    send(&far, &frame(OWN, &pattern(1400)));
    let bytes = received(&mut bus, 0, &requests[0]).expect("the one that fits");
    assert_eq!((bytes[10], bytes.len()), (1, 12 + 12 + 1400));
    assert_eq!(received(&mut bus, 0, &requests[1]), None);
}

#[test]
fn bug_53_header_length_follows_the_features() {
    let legacy = |order| Options {
        legacy: Some(order),
        ..Options::default()
    };
    for (features, order, len) in [
        (Features::NONE, ByteOrder::Little, 10),
        (MRG_RXBUF, ByteOrder::Little, 12),
        (MRG_RXBUF, ByteOrder::Big, 12),
        (Features::VERSION_1, ByteOrder::Little, 12),
        (
            Features::VERSION_1 | CTRL_VQ | HASH_REPORT,
            ByteOrder::Little,
            20,
        ),
    ] {
        let (net, far, _) = on_sockets(&everything(), 1);
        let mut bus = TestBus::with(net, legacy(order));
        bus.boot(features | GUEST_CSUM);
        let request = bus.submit(0, &[], &[100]);
        let (header, frame) = ([1, 0, 2, 0, 0, 0, 14, 0, 6, 0, 0, 0], frame(OWN, &[7; 40]));
        far[0].send(&with_header(header, &frame)).unwrap();
        let bytes = received(&mut bus, 0, &request).expect("a frame");
        assert_eq!(bytes[len..], frame, "{features:?}");
        let word = |at: usize| order.u16([bytes[at], bytes[at + 1]]);
        assert_eq!((bytes[0], word(6), word(8)), (1, 14, 6), "{order:?}");
        if len > 10 {
            assert_eq!(word(10), 1, "num_buffers");
        }
    }
}

#[test]
fn headers_say_nothing_that_was_not_negotiated() {
    let tso4 = [1, 1, 54, 0, 0xe8, 3, 34, 0, 16, 0, 0, 0];
    let partial = [1, 0, 0, 0, 0, 0, 34, 0, 16, 0, 0, 0];
    let checked = [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let unknown = [0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let flags = |features, header: [u8; 12]| {
        let (mut bus, far) = running(&NetProps::default(), features);
        let request = bus.submit(0, &[], &[1526]);
        far.send(&with_header(header, &frame(OWN, &[1; 60])))
            .unwrap();
        received(&mut bus, 0, &request).map(|bytes| [bytes[0], bytes[1]])
    };
    assert_eq!(flags(GUEST_CSUM | GUEST_TSO4, tso4), Some([1, 1]));
    assert_eq!(flags(GUEST_CSUM, tso4), None, "a segment nobody can take");
    assert_eq!(flags(GUEST_CSUM, partial), Some([1, 0]));
    assert_eq!(flags(Features::NONE, partial), None);
    assert_eq!(flags(GUEST_CSUM, checked), Some([2, 0]));
    assert_eq!(flags(Features::NONE, checked), Some([0, 0]));
    assert_eq!(flags(GUEST_CSUM | GUEST_TSO4, unknown), None);
}

#[test]
fn frames_longer_than_the_mtu_are_not_passed() {
    let props = NetProps::default().host_mtu(1500);
    for (features, passed) in [(MTU, false), (Features::NONE, true)] {
        let (mut bus, far) = running(&props, features);
        let request = bus.submit(0, &[], &[4000]);
        send(&far, &frame(OWN, &[2; 2 + 1501]));
        assert_eq!(received(&mut bus, 0, &request).is_some(), passed);
    }
    let (mut bus, far) = running(&props, MTU);
    for rest in [2 + 1500, 6 + 1500] {
        let request = bus.submit(0, &[], &[4000]);
        let mut whole = frame(OWN, &vec![0; rest]);
        whole[12] = if rest > 1502 { 0x81 } else { 8 };
        send(&far, &whole);
        assert_eq!(received(&mut bus, 0, &request).unwrap()[12..], whole);
    }
}

#[test]
fn a_line_that_ends_takes_the_link_down_once() {
    let (a, b) = std::os::unix::net::UnixStream::pair().unwrap();
    a.set_nonblocking(true).unwrap();
    let line = virtio_net::Framed::new(a.into()).unwrap();
    let net = virtio_net::Net::new(&NetProps::default(), virtio_net::Plain, vec![line]).unwrap();
    let handle = net.handle();
    let mut bus = TestBus::new(net);
    bus.boot(Features::VERSION_1 | STATUS);
    bus.submit(0, &[], &[1526]);
    assert_eq!(bus.read_config(6, 2), [1, 0]);
    drop(b);
    assert!(bus.run_until(|bus| bus.interrupts().config() > 0));
    assert!(!handle.link() && !bus.run());
    assert_eq!(
        (bus.read_config(6, 2), bus.interrupts().config()),
        (vec![0, 0], 1)
    );
    assert_eq!(
        bus.request(1, &[&[0; 12], &frame(OWN, &[0; 40])], &[]).len,
        0
    );
}

#[test]
fn offloads_are_those_of_the_driver() {
    let (net, _far, tap) = on_sockets(&NetProps::default(), 1);
    let mut bus = TestBus::new(net);
    bus.boot(Features::VERSION_1 | GUEST_CSUM | GUEST_TSO4 | CTRL_VQ | CTRL_GUEST_OFFLOADS);
    let csum = Offloads {
        csum: true,
        ..Offloads::NONE
    };
    let both = Offloads { tso4: true, ..csum };
    assert_eq!(tap.told(|told| told.offloads), Some(both));
    assert!(command(&mut bus, 2, 5, 0, &2u64.to_le_bytes()));
    assert_eq!(tap.told(|told| told.offloads), Some(csum));
    assert!(!command(&mut bus, 2, 5, 0, &(1u64 << 10 | 2).to_le_bytes()));
    tap.told(|told| told.refuses = true);
    assert!(!command(&mut bus, 2, 5, 0, &0u64.to_le_bytes()));
    assert!(!command(&mut bus, 2, 5, 0, &[0; 7]), "too short");
}
