//! When a write is on stable storage (section 5.2.6.2).

mod common;

use common::*;
use testkit::{Options, TestBus};
use virtio_blk::virtio_device::props::OnOffAuto;
use virtio_blk::virtio_device::{Features, VirtioDevice};
use virtio_blk::{Blk, BlkProps};

/// Whether a write by a driver with these features is stable when it completes.
fn is_stable(props: &BlkProps, write_through: bool, features: Features) -> bool {
    let (mut backend, script) = scripted(&image());
    backend.image = backend.image.write_through(write_through);
    let device = Blk::new(props, backend).unwrap();
    let mut bus = TestBus::with(device, Options::default());
    bus.boot(Features::VERSION_1 | features);
    assert_eq!(write(&mut bus, 0, &[7; 512]).status, OK);
    match *script.calls() {
        [Call::Write { stable }] => stable,
        ref calls => panic!("{calls:?}"),
    }
}

#[test]
fn follows_negotiation_properties_and_back_end() {
    let auto = BlkProps::default();
    let [on, off] = [OnOffAuto::On, OnOffAuto::Off].map(|on| auto.clone().write_cache(on));
    let both = F_FLUSH | F_CONFIG_WCE;
    for features in [F_FLUSH, both] {
        assert!(!is_stable(&auto, false, features));
        assert!(is_stable(&auto, true, features));
        assert!(!is_stable(&on, true, features));
        assert!(is_stable(&off, false, features));
    }
    for features in [Features::NONE, F_CONFIG_WCE] {
        assert!(is_stable(&on, false, features), "{features:?}");
    }
}

#[test]
fn the_driver_switches_it() {
    let (backend, script) = scripted(&image());
    let mut bus = boot(&BlkProps::default(), backend);
    for on in [0, 1, 0] {
        bus.core().write_config(32, &[on]);
        assert_eq!(bus.read_config(32, 1), [on]);
        write(&mut bus, 0, &[7; 512]);
        let stable = on == 0;
        assert_eq!(script.calls(), [Call::Write { stable }]);
        request(&mut bus, WRITE_ZEROES, 0, &range(0, 1, 0));
        let zeroes = Call::WriteZeroes { may_unmap: false };
        let expected = [zeroes, Call::Sync];
        assert_eq!(script.calls(), expected[..if stable { 2 } else { 1 }]);
    }
    bus.reset();
    assert_eq!(bus.read_config(32, 1), [1]);
}

#[test]
fn a_flush_is_done_and_its_failure_told() {
    let (backend, script) = scripted(&image());
    let mut bus = boot(&BlkProps::default(), backend);
    assert_eq!(request(&mut bus, FLUSH, 0, &[]).status, OK);
    assert_eq!(script.calls(), [Call::Sync]);
    script.fail([Fault::Error(libc::EIO)]);
    let answer = request(&mut bus, FLUSH, 0, &[]);
    assert_eq!((answer.status, answer.used), (IOERR, 1));
    assert_eq!(request(&mut bus, FLUSH, u64::MAX, &[]).status, OK);
}

#[test]
fn a_write_is_not_complete_before_it_is_stable() {
    for mode in all_modes() {
        let file = image();
        let image = raw(&file).mode(mode).write_through(true);
        let device = Blk::new(&BlkProps::default(), image).unwrap();
        assert_eq!(device.config().snapshot()[32], 0);
        let mut bus = TestBus::with(device, Options::default());
        bus.boot(Features::VERSION_1 | F_FLUSH | F_CONFIG_WCE);
        assert_eq!(write(&mut bus, 9, &[3; 1024]).status, OK);
        assert_eq!(contents(&file)[9 * SECTOR..11 * SECTOR], [3; 1024]);
    }
}
