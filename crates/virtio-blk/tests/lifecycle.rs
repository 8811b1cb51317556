//! Requests in flight, and reset, pause, restore and failure in the midst of them.

mod common;

use std::time::Duration;

use common::*;
use proptest::prelude::*;
use testkit::{Options, Request, TestBus};
use virtio_blk::virtio_device::props::OnOffAuto;
use virtio_blk::virtio_device::{Features, SavedState, VirtioDevice};
use virtio_blk::{Blk, BlkProps};

/// `count` reads of a sector each, from sector 0 on, held back by the script.
fn in_flight(bus: &mut TestBus, script: &Script, count: u64) -> Vec<Request> {
    script.hold(true);
    let submit = |sector| bus.submit(0, &[&header(IN, sector)], &[512, 1]);
    let requests = (0..count).map(submit).collect();
    bus.run();
    assert_eq!(script.held() as u64, count);
    requests
}

/// Lets go of what is held in a while.
fn release_soon(script: &Script) -> std::thread::JoinHandle<()> {
    let script = script.clone();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(30));
        script.hold(false);
        script.release();
    })
}

fn collect(bus: &mut TestBus, requests: &[Request]) {
    for _ in 0..requests.len() {
        assert!(bus.run_until(|bus| bus.queue(0).has_used()));
        let used = bus.queue(0).collect().unwrap();
        let sector = requests.iter().position(|request| request.id == used.id);
        let sector = sector.expect("a request of ours");
        let answer = Answer::of(bus.response(&requests[sector], used));
        assert_eq!((answer.status, answer.used), (OK, 513));
        assert_eq!(
            answer.data,
            pattern((sector + 1) * SECTOR)[sector * SECTOR..]
        );
    }
    assert!(!bus.queue(0).has_used());
}

#[test]
fn completes_each_once_in_whatever_order() {
    for ring in all_rings() {
        for in_order in [Features::NONE, Features::IN_ORDER] {
            let (backend, script) = scripted(&image());
            let mut bus = boot_with(&BlkProps::default(), backend, ring | in_order);
            for _ in 0..3 {
                let requests = in_flight(&mut bus, &script, 40);
                assert!(!bus.queue(0).has_used());
                script.release();
                collect(&mut bus, &requests);
            }
        }
    }
}

#[test]
fn bug_03_no_more_in_flight_than_the_queue_has_descriptors() {
    let (backend, script) = scripted(&image());
    let props = BlkProps::default().queue_size(16);
    let mut bus = boot(&props, backend);
    let requests = in_flight(&mut bus, &script, 16);
    for _ in 0..5 {
        bus.notify(0);
        bus.run();
    }
    assert_eq!(script.held(), 16);
    script.release();
    collect(&mut bus, &requests);
    let requests = in_flight(&mut bus, &script, 16);
    script.release();
    collect(&mut bus, &requests);
}

#[test]
fn bug_40_a_reset_waits_for_what_is_in_flight() {
    let (backend, script) = scripted(&image());
    let mut bus = boot(&BlkProps::default(), backend);
    in_flight(&mut bus, &script, 8);
    let releaser = release_soon(&script);
    bus.reset();
    assert_eq!(script.held(), 0, "nothing can write to the guest any more");
    releaser.join().unwrap();
    bus.boot(Features::VERSION_1);
    assert_eq!(read(&mut bus, 1, 512).status, OK);
}

#[test]
fn a_queue_reset_waits_as_well() {
    let (backend, script) = scripted(&image());
    let ring = Features::RING_RESET;
    let mut bus = boot_with(&BlkProps::default().num_queues(2), backend, ring);
    in_flight(&mut bus, &script, 8);
    let releaser = release_soon(&script);
    bus.reset_queue(0);
    assert_eq!(script.held(), 0);
    releaser.join().unwrap();
    bus.set_up_queue(0, 64);
    assert_eq!(read(&mut bus, 1, 512).status, OK);
    assert!(!bus.needs_reset());
}

#[test]
fn bug_44_a_pause_drains_and_loses_nothing() {
    let (backend, script) = scripted(&image());
    let mut bus = boot(&BlkProps::default(), backend);
    let mut requests = in_flight(&mut bus, &script, 8);
    // These come while the device drains: they are left for later.
    let later = (8..12).map(|sector| bus.submit(0, &[&header(IN, sector)], &[512, 1]));
    requests.extend(later.collect::<Vec<_>>());
    let releaser = release_soon(&script);
    bus.core().pause();
    releaser.join().unwrap();
    script.calls();
    assert_eq!(script.held(), 0);
    bus.core().resume();
    collect(&mut bus, &requests);
    assert_eq!(script.calls(), [Call::Read; 4]);
}

#[test]
fn goes_on_in_another_device_after_a_restore() {
    let file = image();
    let props = BlkProps::default().share_rw(true);
    let mut bus = boot(&props, raw(&file));
    bus.core().write_config(32, &[0]);
    write(&mut bus, 5, &[9; 512]);
    bus.core().pause();
    let state = bus.core().save().unwrap();
    let (backend, script) = scripted(&file);
    let successor = Blk::new(&props, backend).unwrap();
    let mut bus = bus.successor(successor, Options::default());
    bus.core().restore(&state).unwrap();
    bus.core().resume();
    assert_eq!(bus.read_config(32, 1), [0]);
    assert_eq!(read(&mut bus, 5, 512).data, [9; 512]);
    assert_eq!(write(&mut bus, 6, &[9; 512]).status, OK);
    assert_eq!(script.calls()[1..], [Call::Write { stable: true }]);
    // Reset after a restore is reset after a boot (bug 41).
    bus.reset();
    assert_eq!(bus.read_config(32, 1), [1]);
}

#[test]
fn bug_35_a_reset_device_is_a_new_one() {
    let mut bus = boot(&BlkProps::default(), raw(&image()));
    let new = bus.read_config(0, 64);
    bus.core().write_config(32, &[0]);
    assert_ne!(bus.read_config(0, 64), new);
    bus.reset();
    assert_eq!(bus.read_config(0, 64), new);
}

proptest! {
    #[test]
    fn bug_79_restores_no_state_but_its_own(
        kind in prop_oneof![Just("virtio-blk".to_owned()), ".*"],
        version in 0u32..3,
        bytes in prop::collection::vec(any::<u8>(), 0..12),
    ) {
        let mut device = Blk::new(&BlkProps::default(), raw(&image())).unwrap();
        let own = device.save().unwrap();
        let state = SavedState::new(&kind, version, bytes);
        if device.restore(&state).is_ok() {
            prop_assert_eq!(&device.save().unwrap(), &state);
        } else {
            prop_assert_eq!(&device.save().unwrap(), &own);
        }
        prop_assert!(device.restore(&own).is_ok());
    }
}

#[test]
fn a_disk_of_another_size_is_not_restored() {
    let mut device = Blk::new(&BlkProps::default(), raw(&image())).unwrap();
    let file = image();
    file.set_len(512).unwrap();
    let smaller = Blk::new(&BlkProps::default(), raw(&file)).unwrap();
    assert!(device.restore(&smaller.save().unwrap()).is_err());
}

#[test]
fn failures_of_the_back_end_are_told_and_survived() {
    for hold in [false, true] {
        let (backend, script) = scripted(&image());
        let props = BlkProps::default().max_discard_segments(4);
        let mut bus = boot(&props, backend);
        let kinds = [
            (Fault::Error(libc::EIO), 0),
            (Fault::Error(libc::ENOSPC), 0),
            (Fault::Short(100), 100),
            (Fault::Short(0), 0),
            // A back-end that says more than it can have done is not believed.
            (Fault::Short(usize::MAX), 513),
        ];
        for (fault, used) in kinds {
            script.fail([fault]);
            let answer = held(&mut bus, &script, hold, &header(IN, 0), &[512, 1]);
            assert_eq!((answer.status, answer.used), (IOERR, used), "{fault:?}");
            script.fail([fault]);
            let out = [header(OUT, 0), vec![1; 512]].concat();
            let answer = held(&mut bus, &script, hold, &out, &[1]);
            assert_eq!((answer.status, answer.used), (IOERR, 1), "{fault:?}");
        }
        // The second range fails; the third is not begun.
        script.calls();
        script.fail([Fault::None, Fault::Error(libc::EIO)]);
        let ranges = [range(0, 8, 0), range(8, 8, 0), range(16, 8, 0)].concat();
        let discard = [header(DISCARD, 0), ranges].concat();
        assert_eq!(held(&mut bus, &script, hold, &discard, &[1]).status, IOERR);
        assert_eq!(script.calls(), [Call::Discard; 2]);
        script.fail([Fault::Refused]);
        script.hold(false);
        assert_eq!(read(&mut bus, 0, 512).status, IOERR);
        assert_eq!(read(&mut bus, 0, 512).status, OK);
        assert!(!bus.needs_reset());
    }
}

#[test]
fn every_part_of_a_request_is_started() {
    let (backend, script) = scripted(&image());
    let props = BlkProps::default().write_cache(OnOffAuto::Off);
    let mut bus = boot_with(&props, backend, Features::VERSION_1);
    script.end_when_started();
    let zeroes = [header(WRITE_ZEROES, 0), range(0, 8, 0)].concat();
    let request = bus.submit(0, &[&zeroes], &[1]);
    assert!(bus.run_until(|bus| bus.queue(0).has_used()));
    let used = bus.queue(0).collect().unwrap();
    assert_eq!(Answer::of(bus.response(&request, used)).status, OK);
    let zero = Call::WriteZeroes { may_unmap: false };
    assert_eq!(script.calls(), [zero, Call::Sync]);
}

/// A request whose parts are perhaps held back for a while.
fn held(
    bus: &mut TestBus,
    script: &Script,
    hold: bool,
    readable: &[u8],
    writable: &[u32],
) -> Answer {
    script.hold(hold);
    let request = bus.submit(0, &[readable], writable);
    assert!(bus.run_until(|bus| {
        script.release();
        bus.queue(0).has_used()
    }));
    let used = bus.queue(0).collect().unwrap();
    Answer::of(bus.response(&request, used))
}

#[test]
fn an_image_that_shrinks_ends_reads_early() {
    for mode in all_modes() {
        let file = image();
        let mut bus = boot(&BlkProps::default(), raw(&file).mode(mode));
        file.set_len(10 * 512 + 100).unwrap();
        let answer = read(&mut bus, 10, 1024);
        assert_eq!((answer.status, answer.used), (IOERR, 100), "{mode:?}");
        assert_eq!(read(&mut bus, 20, 512).status, IOERR);
        assert_eq!(read(&mut bus, 9, 512).status, OK);
    }
}
