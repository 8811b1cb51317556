//! Property tables: parsing, help, errors, option strings.

use virtio_device::props::{OnOffAuto, PropError, PropValue, Props, apply, near, split_options};

virtio_device::props! {
    /// Properties of a device.
    struct DeviceProps {
        /// Name that the guest reads.
        "serial" => serial: Option<String> = None,
        /// Number of queues.
        "num-queues" => num_queues: u16 = 1,
        /// Largest transfer in bytes.
        "max-bytes" => max_bytes: u64 = u64::MAX,
        /// Whether it can forget.
        "discard" => discard: bool = true,
    }
}

virtio_device::props! {
    /// Properties of a transport, one with a name that the device has, too.
    struct BusProps {
        /// Speak the legacy interface.
        "legacy" => legacy: OnOffAuto = OnOffAuto::Auto,
        /// Something else of this name.
        "serial" => serial: u8 = 7,
    }
}

fn set(pairs: &[(&str, &str)]) -> Result<(DeviceProps, BusProps), PropError> {
    let (mut device, mut bus) = (DeviceProps::default(), BusProps::default());
    apply(pairs.iter().copied(), &mut [&mut device, &mut bus])?;
    Ok((device, bus))
}

#[test]
fn layers_are_offered_a_name_in_turn() {
    let pairs = [
        ("serial", "abc"),
        ("legacy", "off"),
        ("num-queues", "0x10"),
        ("discard", "no"),
    ];
    let (device, bus) = set(&pairs).unwrap();
    let expected = DeviceProps::default()
        .serial(Some("abc".into()))
        .num_queues(16)
        .discard(false);
    assert_eq!(device, expected);
    assert_eq!((bus.legacy, bus.serial), (OnOffAuto::Off, 7));
}

#[test]
fn the_last_of_two_values_counts() {
    assert_eq!(
        set(&[("num-queues", "2"), ("num-queues", "3")])
            .unwrap()
            .0
            .num_queues,
        3
    );
}

#[test]
fn errors_name_property_value_and_what_is_accepted() {
    let message = |name, value| set(&[(name, value)]).unwrap_err().to_string();
    assert_eq!(
        message("num-queues", "65536"),
        "property 'num-queues': '65536' is not valid; accepted: a number from 0 to 65535"
    );
    assert_eq!(
        message("discard", "maybe"),
        "property 'discard': 'maybe' is not valid; accepted: on|off"
    );
    assert_eq!(
        message("num_queues", "1"),
        "unknown property 'num_queues'; did you mean num-queues?"
    );
    assert_eq!(message("zzzzzz", "1"), "unknown property 'zzzzzz'");
}

#[test]
fn numbers_are_decimal_or_hexadecimal() {
    assert_eq!(u8::parse("255"), Some(255));
    assert_eq!(u32::parse("0xffffffff"), Some(u32::MAX));
    assert_eq!(u64::parse("0Xff"), Some(255));
    assert_eq!(i32::parse("-1"), Some(-1));
    for wrong in [
        "", "-1", "256", "1k", "0x", "0x+1", "0x100", " 1", "1.0", "one",
    ] {
        assert_eq!(u8::parse(wrong), None, "{wrong}");
    }
    assert_eq!(i32::parse("0x-1"), None);
}

#[test]
fn every_value_reads_back_as_it_shows() {
    fn round<T: PropValue + PartialEq + std::fmt::Debug>(value: T) {
        assert_eq!(T::parse(&value.show()), Some(value));
    }
    [true, false].into_iter().for_each(round);
    let switches = [OnOffAuto::Auto, OnOffAuto::On, OnOffAuto::Off];
    switches.into_iter().for_each(round);
    [0, 1, u64::MAX].into_iter().for_each(round);
    round(i32::MIN);
    round("a,b=c".to_owned());
    round(Some("text".to_owned()));
    assert_eq!(OnOffAuto::On.to_string(), "on");
}

#[test]
fn help_lists_every_property_with_its_value() {
    let help = Props::describe(&DeviceProps::default().num_queues(4));
    let names: Vec<_> = help.iter().map(|p| (p.name, p.value.as_str())).collect();
    let most = u64::MAX.to_string();
    assert_eq!(
        names,
        [
            ("serial", ""),
            ("num-queues", "4"),
            ("max-bytes", most.as_str()),
            ("discard", "on"),
        ]
    );
    assert_eq!(help[1].help, "Number of queues.");
    assert_eq!(help[3].accepts, "on|off");
}

#[test]
fn option_strings_split_at_single_commas() {
    let split = |text| -> Vec<_> { split_options(text) };
    let pair = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()));
    assert_eq!(
        split("virtio-blk-pci,drive=d0,serial=a,,b"),
        [
            ("virtio-blk-pci".to_owned(), None),
            pair("drive", "d0"),
            pair("serial", "a,b")
        ]
    );
    assert_eq!(split("a=b=c"), [pair("a", "b=c")]);
    assert_eq!(split("a="), [pair("a", "")]);
    assert_eq!(
        split(",,,x"),
        [(",".to_owned(), None), ("x".to_owned(), None)]
    );
    assert_eq!(split(""), []);
    assert_eq!(split("a,"), [("a".to_owned(), None)]);
}

#[test]
fn near_names_come_best_first() {
    let names = ["drive", "driver", "serial", "write-cache", "num-queues"];
    assert_eq!(near("drvie", names), ["drive", "driver"]);
    assert_eq!(near("cache", names), ["write-cache"]);
    assert_eq!(near("Write-Cache", names), ["write-cache"]);
    assert!(near("x", names).is_empty());
    assert!(near("é", names).is_empty());
}
