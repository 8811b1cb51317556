//! Feature sets and their dependencies.

use virtio_device::{Dependency, Features};

#[test]
fn numbers_are_those_of_the_specification() {
    let bits = [
        (Features::NOTIFY_ON_EMPTY, 24),
        (Features::ANY_LAYOUT, 27),
        (Features::INDIRECT_DESC, 28),
        (Features::EVENT_IDX, 29),
        (Features::VERSION_1, 32),
        (Features::ACCESS_PLATFORM, 33),
        (Features::RING_PACKED, 34),
        (Features::IN_ORDER, 35),
        (Features::ORDER_PLATFORM, 36),
        (Features::SR_IOV, 37),
        (Features::NOTIFICATION_DATA, 38),
        (Features::NOTIF_CONFIG_DATA, 39),
        (Features::RING_RESET, 40),
        (Features::ADMIN_VQ, 41),
        (Features::SUSPEND, 43),
    ];
    for (feature, bit) in bits {
        assert_eq!(feature.bits(), 1 << bit);
        assert_eq!(feature, Features::bit(bit));
    }
}

#[test]
fn bits_past_the_set_are_nothing() {
    assert_eq!(Features::bit(127).bits(), 1 << 127);
    assert_eq!(Features::bit(128), Features::NONE);
    assert_eq!(Features::bit(255), Features::NONE);
}

#[test]
fn pages_are_read_and_written_as_registers() {
    let mut features = Features::NONE;
    for page in 0..4 {
        features = features.with_page(page, 0x1111_1111 * (page + 1));
    }
    assert_eq!(features.bits(), 0x44444444_33333333_22222222_11111111);
    assert_eq!(features.page(2), 0x3333_3333);
    assert_eq!(features.with_page(2, 0).page(2), 0);
    for page in [4, 32, u32::MAX] {
        assert_eq!(features.page(page), 0);
        assert_eq!(features.with_page(page, u32::MAX), features);
    }
}

#[test]
fn sets_behave_as_sets() {
    let (a, b) = (Features::bit(1) | Features::bit(70), Features::bit(70));
    assert!(a.contains(b) && !b.contains(a) && a.intersects(b));
    assert_eq!(a - b, Features::bit(1));
    assert_eq!(a & b, b);
    assert_eq!(b.with(Features::bit(1)), a);
    assert!(b.when(false).is_empty() && b.when(true) == b);
    assert!(Features::NONE.contains(Features::NONE));
    assert!(!Features::NONE.intersects(Features::NONE));
    assert_eq!(format!("{a:?}"), "Features{1, 70}");
}

#[test]
fn dependencies_name_what_is_missing() {
    const RULES: &[Dependency] = &[
        Dependency::new(Features::bit(5), Features::bit(1).with(Features::bit(2))),
        Dependency::new(Features::bit(6), Features::bit(5)),
    ];
    assert_eq!(Features::NONE.broken(RULES), None);
    assert_eq!(Features::bit(5).broken(RULES), Some(&RULES[0]));
    assert_eq!((Features::bit(5) | Features::bit(2)).broken(RULES), None);
    assert_eq!(
        (Features::bit(6) | Features::bit(2)).broken(RULES),
        Some(&RULES[1])
    );
}

#[test]
fn bits_of_modern_devices_need_version_1() {
    for bit in 33..=41 {
        let feature = Features::bit(bit);
        assert!(feature.broken(Dependency::CORE).is_some(), "{feature:?}");
        let modern = feature | Features::VERSION_1;
        assert_eq!(modern.broken(Dependency::CORE), None, "{feature:?}");
    }
    let legacy = Features::INDIRECT_DESC | Features::EVENT_IDX | Features::ANY_LAYOUT;
    assert_eq!(legacy.broken(Dependency::CORE), None);
}
