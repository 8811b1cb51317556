//! Properties, numbers of ports, and what a device looks like from outside.

mod common;

use common::*;
use testkit::{TestBus, virtio_bus::VirtioProps};
use virtio_device::props::{PropError, Props};
use virtio_device::{DeviceId, VirtioDevice};
use virtio_serial::{Null, Port, PortKind, PortProps, Serial, SerialError, SerialProps};

fn port(kind: PortKind, nr: u32) -> Port {
    Port::new(kind, PortProps::default().nr(nr), Box::new(Null))
}

fn refused(ports: Vec<Port>) -> String {
    let error = Serial::new(&SerialProps::default().max_ports(3), ports).err();
    error.expect("refused").to_string()
}

/// Numbers of the ports that a driver hears of.
fn numbers(ports: Vec<Port>) -> Vec<u32> {
    let mut bus = TestBus::new(serial(ports));
    bus.boot(modern());
    tell(&mut bus, 0, DEVICE_READY, 1);
    hear(&mut bus).into_iter().map(|(port, ..)| port).collect()
}

#[test]
fn device_looks_like_qemus() {
    let device = Serial::new(&SerialProps::default(), vec![Port::console(Null)]).unwrap();
    let info = device.info();
    assert_eq!(info.id, DeviceId::CONSOLE);
    let sizes: Vec<_> = info.queue_sizes.iter().map(|size| size.get()).collect();
    assert_eq!(sizes.len(), 64);
    assert_eq!(sizes[..6], [128, 128, 32, 32, 128, 128]);
    assert!(sizes[4..].iter().all(|&size| size == 128));
    let features = info.features | VirtioProps::default().any_layout(false).features();
    assert_eq!(features.bits(), 0x101_3000_0006);
    let config = [0, 0, 0, 0, 31, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(*device.config().snapshot(), config);
    assert_eq!(device.config().generation(), 0);
}

#[test]
fn features_follow_properties() {
    let features = |props: SerialProps| Serial::new(&props, Vec::new()).unwrap().info().features;
    let props = SerialProps::default();
    assert_eq!(features(props.clone()), MULTIPORT | EMERG_WRITE);
    assert_eq!(features(props.clone().emergency_write(false)), MULTIPORT);
    assert_eq!(features(props.clone().max_ports(1)), EMERG_WRITE);
    let one = Serial::new(&props.max_ports(1), Vec::new()).unwrap();
    assert_eq!(one.info().queue_sizes.len(), 2);
    let sized = one.with_size(80, 25);
    assert_eq!(sized.info().features, SIZE | EMERG_WRITE);
    assert_eq!(sized.config().snapshot()[..4], [80, 0, 25, 0]);
}

#[test]
fn properties_have_qemus_names_and_defaults() {
    let mut props = SerialProps::default();
    assert_eq!((props.max_ports, props.emergency_write), (31, true));
    assert_eq!(Props::set(&mut props, "max_ports", "7"), Ok(true));
    assert_eq!(props.max_ports, 7);
    let port = PortProps::default();
    assert_eq!((port.chardev, port.name, port.nr), (None, None, u32::MAX));
}

#[test]
fn max_ports_out_of_range_is_refused() {
    for max_ports in [0, 512, u32::MAX] {
        let error = Serial::new(&SerialProps::default().max_ports(max_ports), Vec::new()).err();
        let Some(SerialError::Property(PropError::Value { name, value, .. })) = error else {
            panic!("{max_ports}");
        };
        assert_eq!((name, value), ("max_ports", max_ports.to_string()));
    }
    let most = Serial::new(&SerialProps::default().max_ports(511), Vec::new()).unwrap();
    assert_eq!(most.info().queue_sizes.len(), 1024);
}

#[test]
fn ports_without_number_get_the_first_that_is_free() {
    let (console, serial) = (PortKind::Console, PortKind::Serial);
    assert_eq!(numbers(vec![port(serial, u32::MAX)]), [1]);
    assert_eq!(
        numbers(vec![port(console, u32::MAX), port(console, u32::MAX)]),
        [0, 1]
    );
    let mixed = vec![
        port(serial, 1),
        port(console, u32::MAX),
        port(serial, u32::MAX),
    ];
    assert_eq!(numbers(mixed), [0, 1, 2]);
}

#[test]
fn ports_that_cannot_be_are_refused_by_option_and_value() {
    let (console, serial) = (PortKind::Console, PortKind::Serial);
    let any = u32::MAX;
    let name = |name: &str| vec![Port::serial(name, Null)];
    let twice = || name("a").into_iter().chain(name("a")).collect();
    for (ports, start) in [
        (vec![port(serial, 0)], "property 'nr': '0'"),
        (vec![port(console, 3)], "property 'nr': '3'"),
        (vec![port(console, 0x1_0000)], "property 'nr': '65536'"),
        (
            vec![port(console, 1), port(serial, 1)],
            "property 'nr': '1'",
        ),
        (
            vec![port(serial, any), port(serial, any), port(serial, any)],
            "property 'max_ports': '3'",
        ),
        (twice(), "property 'name': 'a'"),
        (name(&"n".repeat(256)), "property 'name': 'nnn"),
        (name("a\0b"), "property 'name'"),
    ] {
        let error = refused(ports);
        assert!(error.starts_with(start), "{error}");
        assert!(error.contains("accepted: "), "{error}");
        assert!(!error.contains('\n'));
    }
    assert!(Serial::new(&SerialProps::default(), name(&"n".repeat(255))).is_ok());
}
