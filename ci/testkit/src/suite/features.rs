//! Feature negotiation (section 2.2).

use virtio_bus::Status;
use virtio_device::{Dependency, Features, VirtioDevice};

use super::Subject;

/// What is offered is accepted, what is not is refused, and VERSION_1 alone will do.
pub fn feature_negotiation<D: VirtioDevice>(subject: &Subject<D>) {
    let offered = subject.bus().core().offered();
    assert!(offered.contains(Features::VERSION_1));
    let info = subject.device().info();
    assert_eq!(offered.broken(Dependency::CORE), None);
    assert_eq!(offered.broken(info.dependencies), None);
    assert!(subject.bus().negotiate(offered), "all that is offered");
    assert!(
        subject.bus().negotiate(Features::VERSION_1),
        "VERSION_1 alone"
    );
    let legacy = offered - Features::VERSION_1;
    assert!(!subject.bus().negotiate(legacy), "not without VERSION_1");
    for bit in (0..128).map(Features::bit) {
        if !offered.contains(bit) {
            assert!(
                !subject.bus().negotiate(offered | bit),
                "not offered: {bit:?}"
            );
        }
    }
}

/// Pages past the fourth do not exist, and what is settled cannot be changed.
pub fn feature_registers<D: VirtioDevice>(subject: &Subject<D>) {
    let mut bus = subject.bus();
    for page in [4, 5, 31, 32, 0x8000_0000, u32::MAX] {
        bus.core().write_driver_features(page, u32::MAX);
        assert_eq!(bus.core().driver_features(), Features::NONE, "page {page}");
        assert_eq!(bus.core().offered().page(page), 0);
    }
    assert!(bus.negotiate(Features::VERSION_1));
    for page in 0..4 {
        bus.core().write_driver_features(page, u32::MAX);
    }
    assert_eq!(bus.core().driver_features(), Features::VERSION_1);
    // A driver that was refused may think again.
    bus.reset();
    assert!(!bus.negotiate(Features::VERSION_1 | Features::bit(127)));
    bus.core().write_driver_features(3, 0);
    bus.core().write_status(Status(11));
    assert!(bus.core().status().contains(Status::FEATURES_OK));
}
