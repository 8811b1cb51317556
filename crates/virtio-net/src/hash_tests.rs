//! The hashes that Microsoft publishes to verify implementations with.

use super::{Hash, Key, TYPES, hash};

const KEY: Key = [
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0,
    0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c,
    0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
];

fn ethernet(kind: u16, packet: &[u8]) -> Vec<u8> {
    [&[0; 12], &kind.to_be_bytes()[..], packet].concat()
}

fn ipv4(protocol: u8) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 40, 0, 0, 0, 0, 64, protocol, 0, 0];
    packet.extend([66, 9, 149, 187, 161, 142, 100, 80]);
    packet.extend([2794u16, 1766].map(u16::to_be_bytes).concat());
    packet
}

const SOURCE: [u8; 16] = [
    0x3f, 0xfe, 0x25, 0x01, 0x02, 0x00, 0x1f, 0xff, 0, 0, 0, 0, 0, 0, 0, 7,
];
const DESTINATION: [u8; 16] = [
    0x3f, 0xfe, 0x25, 0x01, 0x02, 0x00, 0x00, 0x03, 0, 0, 0, 0, 0, 0, 0, 1,
];

fn ipv6(next: u8, source: [u8; 16], destination: [u8; 16], extensions: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 20, next, 64];
    packet.extend([source, destination].concat());
    packet.extend(extensions);
    packet.extend([2794u16, 1766].map(u16::to_be_bytes).concat());
    packet
}

fn of(frame: &[u8], types: u32) -> Option<(u32, u16)> {
    hash(frame, types, &KEY).map(|Hash { value, report }| (value, report))
}

#[test]
fn ipv4_with_and_without_ports() {
    let (tcp, udp) = (ethernet(0x800, &ipv4(6)), ethernet(0x800, &ipv4(17)));
    assert_eq!(of(&tcp, TYPES), Some((0x51cc_c178, 2)));
    assert_eq!(of(&udp, TYPES), Some((0x51cc_c178, 3)));
    assert_eq!(of(&udp, 0b011), Some((0x323e_8fc2, 1)), "UDP is not wanted");
    assert_eq!(of(&tcp, 0b100), None, "nothing fits");
    let icmp = ethernet(0x800, &ipv4(1));
    assert_eq!(of(&icmp, TYPES), Some((0x323e_8fc2, 1)));
}

#[test]
fn fragments_have_no_ports() {
    let mut packet = ipv4(6);
    packet[6] = 0x20;
    assert_eq!(of(&ethernet(0x800, &packet), TYPES), Some((0x323e_8fc2, 1)));
}

#[test]
fn vlan_tags_are_skipped() {
    let inner = ethernet(0x800, &ipv4(6));
    let tagged = ethernet(0x8100, &[&[0, 5], &inner[12..]].concat());
    let twice = ethernet(0x88a8, &[&[0, 6], &tagged[12..]].concat());
    assert_eq!(of(&tagged, TYPES), Some((0x51cc_c178, 2)));
    assert_eq!(of(&twice, TYPES), Some((0x51cc_c178, 2)));
}

#[test]
fn ipv6_with_and_without_ports() {
    let frame = ethernet(0x86dd, &ipv6(6, SOURCE, DESTINATION, &[]));
    assert_eq!(of(&frame, TYPES), Some((0x4020_7d3d, 5)));
    assert_eq!(of(&frame, 1 << 3), Some((0x2cc1_8cd5, 4)));
    assert_eq!(of(&frame, 1 << 7), None, "it has no extension headers");
}

#[test]
fn extension_headers_bring_addresses_of_their_own() {
    let mut home = vec![6, 2, 1, 0, 0xc9, 16];
    home.extend(SOURCE);
    home.extend([0; 2]);
    let mut routing = vec![60, 2, 2, 1, 0, 0, 0, 0];
    routing.extend(DESTINATION);
    let frame = ethernet(
        0x86dd,
        &ipv6(43, [1; 16], [2; 16], &[routing, home].concat()),
    );
    assert_eq!(of(&frame, TYPES), Some((0x4020_7d3d, 8)));
    assert_eq!(of(&frame, 1 << 6), Some((0x2cc1_8cd5, 7)));
    let plain = of(&frame, 1 << 4).expect("as if there were no extension headers");
    assert!(plain.0 != 0x4020_7d3d && plain.1 == 5);
}

#[test]
fn what_is_cut_off_anywhere_does_no_harm() {
    let frames = [
        ethernet(0x800, &ipv4(6)),
        ethernet(
            0x86dd,
            &ipv6(0, SOURCE, DESTINATION, &[43, 0, 1, 1, 0, 0, 0, 0]),
        ),
        ethernet(0x86dd, &ipv6(60, SOURCE, DESTINATION, &[6, 255, 0xc9, 200])),
    ];
    for frame in frames {
        for len in 0..frame.len() {
            let _ = of(&frame[..len], TYPES);
        }
    }
}
