//! Properties, features and the configuration space.

mod common;

use common::*;
use virtio_device::props::{PropError, Props};
use virtio_device::{ConfigCell, Features, VirtioDevice};
use virtio_net::{Facts, Net, NetError, NetProps, Offloads, Plain};

fn plain(props: &NetProps) -> Net<Echo> {
    Net::new(props, Plain, vec![Echo::new()]).unwrap()
}

fn set(pairs: &[(&str, &str)]) -> NetProps {
    let mut props = NetProps::default();
    for (name, value) in pairs {
        assert_eq!(Props::set(&mut props, name, value), Ok(true), "{name}");
    }
    props
}

fn config(cell: &ConfigCell) -> Vec<u8> {
    cell.snapshot().to_vec()
}

/// Bits that are the device's own, of the words that QEMU 11.1 shows.
const OWN_BITS: u128 = !(0x1ff << 24 | 0x1ff << 32);

#[test]
fn is_to_the_byte_what_qemu_shows() {
    let net = plain(&NetProps::default());
    let info = net.info();
    assert_eq!(info.features.bits(), 0x101_30bf_8024 & OWN_BITS);
    assert_eq!(
        config(&net.config()),
        [0x52, 0x54, 0, 0x12, 0x34, 0x56, 1, 0]
    );
    let sizes: Vec<_> = info.queue_sizes.iter().map(|size| size.get()).collect();
    assert_eq!(sizes, [256, 256, 64]);
    let (net, ..) = on_sockets(&NetProps::default(), 1);
    // All but those for UDP tunnels, which are bits 65 to 68.
    let tunnels = 0x1e << 64;
    let shown = 0x1e_01c0_0101_30bf_ffa7_u128;
    assert_eq!(net.info().features.bits(), shown & OWN_BITS & !tunnels);
}

#[test]
fn features_follow_properties() {
    let names = "mrg_rxbuf status ctrl_vq guest_csum csum ctrl_rx ctrl_rx_extra ctrl_vlan \
                 ctrl_mac_addr ctrl_guest_offloads guest_announce host_tso4 host_ufo host_uso \
                 guest_tso6 guest_ufo guest_uso4";
    let all = on_sockets(&NetProps::default(), 1).0.info().features;
    for name in names.split_whitespace() {
        let (net, ..) = on_sockets(&set(&[(name, "off")]), 1);
        let features = net.info().features;
        assert!(all.contains(features) && features != all, "{name}");
        let rules = net.info().dependencies;
        assert_eq!(features.broken(rules), None, "{name}");
    }
    for (name, value, feature) in [
        ("mq", "on", MQ),
        ("rss", "on", RSS),
        ("hash", "on", HASH_REPORT),
        ("host_mtu", "1400", MTU),
        ("speed", "10000", bit(63)),
        ("duplex", "full", bit(63)),
        ("notf_coal", "on", NOTF_COAL),
        ("vq_notf_coal", "on", VQ_NOTF_COAL),
        ("guest_hdrlen", "on", bit(59)),
    ] {
        let (net, ..) = on_sockets(&set(&[(name, value)]), 1);
        assert_eq!(net.info().features, all | feature, "{name}");
    }
}

#[test]
fn no_offload_is_offered_that_the_back_end_lacks() {
    struct Partial(Offloads);
    impl virtio_net::Backend for Partial {
        fn facts(&self) -> Facts {
            Facts {
                header: true,
                offloads: self.0,
            }
        }
        fn set_offloads(&self, _: Offloads) -> std::io::Result<()> {
            Ok(())
        }
        fn set_lines(&self, _: u16) -> std::io::Result<()> {
            Ok(())
        }
    }
    let offload_bits = 0x7f83 | 7 << 54;
    let offered = |offloads| {
        let net = Net::new(&NetProps::default(), Partial(offloads), vec![Echo::new()]);
        net.unwrap().info().features.bits() & offload_bits
    };
    assert_eq!(offered(Offloads::NONE), 0);
    assert_eq!(offered(Offloads::ALL), offload_bits);
    let csum = Offloads {
        csum: true,
        ..Offloads::NONE
    };
    assert_eq!(offered(csum), 0b11);
    let usable = Offloads {
        csum: false,
        ..Offloads::ALL
    };
    assert_eq!(offered(usable), 0, "nothing goes without checksums");
    let uso4 = Offloads { uso4: true, ..csum };
    assert_eq!(offered(uso4), 0b11 | 1 << 54, "the device needs both");
}

#[test]
fn configuration_space_ends_with_the_last_field_that_is_valid() {
    let len = |props: NetProps| plain(&props).config().len();
    assert_eq!(len(NetProps::default().status(false)), 6);
    assert_eq!(len(NetProps::default()), 8);
    assert_eq!(len(NetProps::default().mq(true)), 10);
    assert_eq!(len(NetProps::default().host_mtu(1500)), 12);
    assert_eq!(len(NetProps::default().speed(10)), 17);
    let props = everything().duplex(Some("half".into()));
    let (net, ..) = on_sockets(&props, 2);
    let [mtu, speed] = [&9000u16.to_le_bytes()[..], &1000u32.to_le_bytes()];
    let tail = [
        &[1, 0, 2, 0][..],
        mtu,
        speed,
        &[0, 40, 128, 0, 0xff, 1, 0, 0],
    ]
    .concat();
    assert_eq!(config(&net.config())[6..], tail);
}

#[test]
fn properties_out_of_range_are_refused_by_name() {
    for (name, value) in [
        ("rx_queue_size", "128"),
        ("rx_queue_size", "300"),
        ("tx_queue_size", "2048"),
        ("host_mtu", "67"),
        ("speed", "-2"),
        ("duplex", "quarter"),
        ("mac", "01:00:5e:00:00:01"),
        ("mac", "00:00:00:00:00:00"),
        ("guest_rsc_ext", "on"),
        ("failover", "on"),
        ("tx", "timer"),
        ("ebpf-rss-fds", "3"),
        ("hash-udp6ex", "off"),
    ] {
        match set(&[(name, value)]).check() {
            Err(PropError::Value { name: bad, .. }) => assert_eq!(bad, name),
            other => panic!("{name}={value}: {other:?}"),
        }
    }
    let mut props = NetProps::default();
    for mac in [
        "",
        "52:54",
        "52:54:00:12:34:5g",
        "52:54:00:12:34:56:78",
        "+2:54:0:0:0:1",
    ] {
        assert!(Props::set(&mut props, "mac", mac).is_err(), "{mac}");
    }
    let none = Net::new(&props, Plain, Vec::<Echo>::new());
    assert!(matches!(none, Err(NetError::Lines(0))));
}

#[test]
fn what_was_set_outlives_a_move() {
    let (net, far, _) = on_sockets(&everything(), 2);
    let mut bus = testkit::TestBus::new(net);
    let features = CTRL_VQ | CTRL_RX | CTRL_VLAN | CTRL_MAC_ADDR | MQ | MRG_RXBUF;
    bus.boot(features | Features::VERSION_1);
    assert!(command(&mut bus, 4, 0, 0, &[0]));
    assert!(command(&mut bus, 4, 1, 1, &[2, 0, 0, 0, 0, 1]));
    assert!(command(&mut bus, 4, 2, 0, &[5, 0]));
    assert!(command(&mut bus, 4, 4, 0, &[2, 0]));
    bus.core().pause();
    let state = bus.core().save().unwrap();
    let (net, new_far, tap) = on_sockets(&everything(), 2);
    let mut bus = bus.successor(net, testkit::Options::default());
    bus.core().restore(&state).unwrap();
    bus.core().resume();
    assert_eq!(tap.told(|told| told.lines), 2);
    assert_eq!(bus.read_config(0, 6), [2, 0, 0, 0, 0, 1]);
    let request = bus.submit(2, &[], &[1526]);
    send(&new_far[1], &frame(OWN, b"\x08\x00 not mine any more"));
    assert_eq!(received(&mut bus, 2, &request), None);
    send(
        &new_far[1],
        &frame([2, 0, 0, 0, 0, 1], b"\x81\0\0\x05\x08\x00 mine"),
    );
    assert!(received(&mut bus, 2, &request).is_some());
    drop(far);
}
