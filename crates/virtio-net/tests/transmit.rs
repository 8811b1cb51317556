//! Frames from the guest to the host.

mod common;

use std::io::Read;
use std::os::unix::net::UnixStream;

use common::*;
use testkit::{Segment, TestBus};
use virtio_device::Features;
use virtio_net::{Framed, Net, NetProps, Plain};

#[test]
fn bug_23_frames_leave_whatever_their_segmentation() {
    let (mut bus, far) = running(&NetProps::default(), Features::NONE);
    let bytes = [&[0; 12][..], &frame([1; 6], &pattern(300))].concat();
    for cuts in [vec![], vec![12], vec![1, 5, 13], vec![0, 0, 200, 200]] {
        let mut pieces = Vec::new();
        let mut at = 0;
        for cut in cuts {
            pieces.push(&bytes[at..cut]);
            at = cut;
        }
        pieces.push(&bytes[at..]);
        let response = bus.request(1, &pieces, &[8]);
        assert_eq!(response.len, 0, "bug_26: nothing is written");
        assert_eq!(sent(&far).unwrap(), bytes);
    }
}

#[test]
fn bug_55_a_header_that_says_nonsense_costs_its_frame() {
    let (mut bus, far) = running(&NetProps::default(), CSUM | HOST_TSO4);
    let frame = frame([1; 6], &[5; 60]);
    let mut send = |header: [u8; 12]| {
        bus.request(1, &[&header, &frame], &[]);
        sent(&far).map(|bytes| bytes[..12].to_vec())
    };
    let tso4 = [1, 1, 54, 0, 0xe8, 3, 34, 0, 16, 0, 0, 0];
    assert_eq!(send(tso4), Some(tso4.to_vec()));
    assert_eq!(
        send([0, 1, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]),
        None,
        "no checksum"
    );
    assert_eq!(
        send([1, 4, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]),
        None,
        "not offered"
    );
    assert_eq!(send([1, 77, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]), None, "unknown");
    // Flags that are not known, and fields that no flag makes valid, are left out.
    assert_eq!(
        send([0xfe, 0, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9]),
        Some(vec![0; 12])
    );
    assert_eq!(send([0xff, 0, 1, 0, 2, 0, 3, 0, 4, 0, 9, 9]).unwrap()[0], 1);
    assert!(!bus.needs_reset());
}

#[test]
fn bug_56_offsets_are_of_no_use_to_the_device() {
    let (mut bus, far) = running(&NetProps::default(), CSUM);
    let header = [1, 0, 0xff, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0];
    bus.request(1, &[&header, &frame([1; 6], &[5; 60])], &[]);
    // They are for the back-end to check, which a tap interface does.
    assert_eq!(sent(&far).unwrap()[..10], header[..10]);
}

#[test]
fn frames_that_are_none_are_given_back() {
    let (mut bus, far) = running(&NetProps::default(), Features::NONE);
    for len in [0, 1, 11, 12] {
        assert_eq!(bus.request(1, &[&vec![0; len]], &[]).len, 0);
    }
    assert_eq!(bus.request(1, &[&vec![0; 12 + 80_000]], &[]).len, 0);
    assert_eq!(bus.request(1, &[], &[100]).len, 0);
    assert_eq!(sent(&far), None);
}

#[test]
fn a_frame_of_four_gigabytes_is_given_back() {
    let (mut bus, far) = running(&NetProps::default(), Features::NONE);
    let huge = Segment {
        address: 0,
        len: u32::MAX,
        writable: false,
    };
    let queue = bus.queue(1);
    queue.add(&[huge; 65]).unwrap();
    queue.publish();
    bus.notify(1);
    bus.run();
    assert_eq!(bus.queue(1).collect().map(|used| used.len), Some(0));
    assert_eq!(sent(&far), None);
    assert!(!bus.needs_reset());
}

#[test]
fn nothing_passes_while_the_link_is_down() {
    let (net, far, _) = on_sockets(&NetProps::default(), 1);
    let handle = net.handle();
    let mut bus = TestBus::new(net);
    bus.boot(Features::VERSION_1 | STATUS);
    handle.set_link(false);
    handle.set_link(false);
    assert_eq!(
        (bus.interrupts().config(), bus.read_config(6, 2)),
        (1, vec![0, 0])
    );
    let request = bus.submit(0, &[], &[1526]);
    send(&far[0], &frame(OWN, b"lost"));
    assert_eq!(received(&mut bus, 0, &request), None);
    assert_eq!(
        bus.request(1, &[&[0; 12], &frame([1; 6], b"lost")], &[])
            .len,
        0
    );
    assert_eq!(sent(&far[0]), None);
    handle.set_link(true);
    assert_eq!(
        (bus.interrupts().config(), bus.read_config(6, 2)),
        (2, vec![1, 0])
    );
    send(&far[0], &frame(OWN, b"found"));
    assert_eq!(received(&mut bus, 0, &request).unwrap()[24..], *b"found");
    bus.request(1, &[&[0; 12], &frame([1; 6], b"found")], &[]);
    assert!(sent(&far[0]).is_some());
}

#[test]
fn a_line_that_takes_no_more_holds_the_guest_up() {
    let (net, far, _) = on_sockets(&NetProps::default(), 1);
    let mut bus = TestBus::new(net);
    bus.boot(Features::VERSION_1);
    let bytes = [&[0; 12][..], &frame([1; 6], &pattern(60_000))].concat();
    let requests: Vec<_> = (0..8).map(|_| bus.submit(1, &[&bytes], &[])).collect();
    bus.run();
    let mut used = 0;
    while bus.queue(1).collect().is_some() {
        used += 1;
    }
    assert!(used < requests.len(), "a socket is full by then");
    assert!(!bus.run(), "and nothing spins");
    for _ in &requests {
        bus.run();
        assert_eq!(sent(&far[0]).unwrap(), bytes, "none is lost or cut");
    }
    bus.run();
    while bus.queue(1).collect().is_some() {
        used += 1;
    }
    assert_eq!(used, requests.len());
}

#[test]
fn frames_on_a_stream_are_put_together_again() {
    let (near, mut far) = UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    let line = Framed::new(near.into()).unwrap();
    let net = Net::new(&NetProps::default(), Plain, vec![line]).unwrap();
    let mut bus = TestBus::new(net);
    bus.boot(Features::VERSION_1 | MRG_RXBUF);
    for len in [1, 60, 1500, 60_000] {
        let frame = frame([1; 6], &pattern(len));
        bus.submit(1, &[&[0; 12], &frame], &[]);
        bus.run();
        let mut bytes = vec![0; 4 + frame.len()];
        far.read_exact(&mut bytes).unwrap();
        assert_eq!(bytes[..4], (frame.len() as u32).to_be_bytes());
        assert_eq!(bytes[4..], frame);
        // The same way back, in three pieces.
        let request = bus.submit(0, &[], &[80_000]);
        for piece in [&bytes[..2], &bytes[2..9], &bytes[9..]] {
            assert!(!bus.queue(0).has_used());
            std::io::Write::write_all(&mut far, piece).unwrap();
            bus.run();
        }
        assert_eq!(received(&mut bus, 0, &request).unwrap()[12..], frame);
    }
}

#[test]
fn a_stream_of_nonsense_ends() {
    let (near, mut far) = UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    let line = Framed::new(near.into()).unwrap();
    let net = Net::new(&NetProps::default(), Plain, vec![line]).unwrap();
    let handle = net.handle();
    let mut bus = TestBus::new(net);
    bus.boot(Features::VERSION_1);
    bus.submit(0, &[], &[1526]);
    std::io::Write::write_all(&mut far, &[0xff; 64]).unwrap();
    assert!(bus.run_until(|_| !handle.link()));
    assert!(!bus.run());
}

#[test]
fn announced_by_a_frame_and_by_the_driver() {
    let (net, far, _) = on_sockets(&NetProps::default(), 1);
    let handle = net.handle();
    let mut bus = TestBus::new(net);
    bus.boot(Features::VERSION_1 | STATUS | CTRL_VQ | GUEST_ANNOUNCE);
    handle.announce();
    bus.run();
    let bytes = sent(&far[0]).unwrap();
    assert_eq!((bytes.len(), &bytes[12..18]), (12 + 60, &[0xff; 6][..]));
    assert_eq!(
        (&bytes[18..24], &bytes[24..26]),
        (&OWN[..], &[0x80, 0x35][..])
    );
    assert_eq!(bytes[26..34], [0, 1, 8, 0, 6, 4, 0, 3]);
    assert_eq!(
        (bus.read_config(6, 2), bus.interrupts().config()),
        (vec![3, 0], 1)
    );
    assert!(command(&mut bus, 2, 3, 0, &[]));
    assert_eq!(bus.read_config(6, 2), [1, 0]);
}
