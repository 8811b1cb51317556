//! What becomes of requests that the back-end fails, by the policy of the disk.

mod common;

use std::sync::mpsc::{Receiver, channel};

use common::*;
use testkit::{Options, Request, TestBus};
use virtio_blk::virtio_device::Features;
use virtio_blk::{Blk, BlkProps, ErrorPolicy, OnError, Verdict};

/// A device with this policy for all requests, and what its witness hears.
fn judged(policy: OnError, ring: Features) -> (TestBus, Script, Receiver<Verdict>) {
    let (backend, script) = scripted(&image());
    let (sender, heard) = channel();
    let both = ErrorPolicy {
        read: policy,
        write: policy,
    };
    let props = BlkProps::default().num_queues(2).queue_size(64);
    let device = Blk::new(&props, backend).unwrap();
    let device = device.judged(both, move |failure| {
        let _ = sender.send(failure.verdict);
    });
    let mut bus = TestBus::with(device, Options::default());
    bus.boot(Features::VERSION_1 | Features::bit(12) | Features::bit(13) | ring);
    (bus, script, heard)
}

fn submit(bus: &mut TestBus, readable: &[u8], writable: &[u32]) -> Request {
    let request = bus.submit(0, &[readable], writable);
    bus.notify(0);
    bus.run();
    request
}

fn answer(bus: &mut TestBus, request: &Request) -> Answer {
    let used = bus.queue(0).collect().expect("an answer");
    assert_eq!(used.id, request.id);
    Answer::of(bus.response(request, used))
}

fn stop_and_go(bus: &mut TestBus) {
    bus.core().pause();
    bus.core().resume();
    bus.run();
}

#[test]
fn a_full_disk_is_waited_for_and_other_errors_are_told() {
    let (mut bus, script, heard) = judged(OnError::Enospc, Features::NONE);
    script.fail([Fault::Error(libc::EIO), Fault::Error(libc::ENOSPC)]);
    let data = [header(OUT, 3), vec![5; 512]].concat();
    let told = submit(&mut bus, &data, &[1]);
    assert_eq!(answer(&mut bus, &told).status, IOERR);
    let kept = submit(&mut bus, &data, &[1]);
    assert!(!bus.queue(0).has_used());
    assert_eq!(
        heard.try_iter().collect::<Vec<_>>(),
        [Verdict::Report, Verdict::Keep]
    );
    stop_and_go(&mut bus);
    assert_eq!(answer(&mut bus, &kept).status, OK);
    assert_eq!(read(&mut bus, 3, 512).data, [5; 512]);
}

#[test]
fn what_is_ignored_went_well() {
    let (mut bus, script, _) = judged(OnError::Ignore, Features::NONE);
    for fault in [Fault::Error(libc::EIO), Fault::Short(7)] {
        script.fail([fault, fault]);
        assert_eq!(read(&mut bus, 0, 512).status, OK);
        assert_eq!(write(&mut bus, 0, &[1; 512]).status, OK);
    }
    script.fail([Fault::Error(libc::EIO)]);
    assert_eq!(request(&mut bus, FLUSH, 0, &[]).status, OK);
}

#[test]
fn what_is_kept_is_answered_once_on_every_ring_however_it_fails() {
    for ring in all_rings() {
        for in_order in [Features::NONE, Features::IN_ORDER] {
            for hold in [false, true] {
                fails_twice(ring | in_order, hold);
            }
        }
    }
}

/// Reads of which every other one fails, at two times in a row.
fn fails_twice(ring: Features, hold: bool) {
    let (mut bus, script, heard) = judged(OnError::Stop, ring);
    let faults = [Fault::Error(libc::EIO), Fault::None];
    script.hold(hold);
    script.fail(faults.into_iter().cycle().take(12));
    let reads = (0..12).map(|sector| bus.submit(0, &[&header(IN, sector)], &[512, 1]));
    let mut reads = reads.collect::<Vec<_>>();
    bus.notify(0);
    bus.run();
    script.release();
    bus.run();
    assert_eq!(heard.try_iter().count(), 6);
    // Of the six that are left, three fail again.
    script.hold(false);
    script.fail(faults.into_iter().cycle().take(6));
    stop_and_go(&mut bus);
    assert_eq!(heard.try_iter().collect::<Vec<_>>(), [Verdict::Keep; 3]);
    stop_and_go(&mut bus);
    while let Some(used) = bus.queue(0).collect() {
        let at = reads.iter().position(|request| request.id == used.id);
        let request = reads.remove(at.expect("a request that was not answered yet"));
        assert_eq!(Answer::of(bus.response(&request, used)).status, OK);
    }
    assert!(reads.is_empty(), "{} are lost", reads.len());
    stop_and_go(&mut bus);
    assert!(!bus.queue(0).has_used(), "answered twice");
}

#[test]
fn ranges_and_flushes_are_made_again_from_their_start() {
    let (mut bus, script, _) = judged(OnError::Stop, Features::NONE);
    for request in [
        [header(WRITE_ZEROES, 0), range(0, 8, 0)].concat(),
        header(FLUSH, 0),
    ] {
        script.fail([Fault::Error(libc::EIO)]);
        let kept = submit(&mut bus, &request, &[1]);
        let first = script.calls();
        stop_and_go(&mut bus);
        assert_eq!(answer(&mut bus, &kept).status, OK);
        assert_eq!(script.calls()[..1], first);
    }
}

#[test]
fn an_image_that_has_grown_back_is_read() {
    let file = image();
    let both = ErrorPolicy {
        read: OnError::Stop,
        write: OnError::Report,
    };
    let device = Blk::new(&BlkProps::default(), raw(&file)).unwrap();
    let mut bus = TestBus::with(device.judged(both, |_| ()), Options::default());
    bus.boot(Features::VERSION_1);
    file.set_len(512).unwrap();
    let kept = submit(&mut bus, &header(IN, 4), &[512, 1]);
    bus.run();
    file.set_len(SECTORS * SECTOR as u64).unwrap();
    stop_and_go(&mut bus);
    assert!(bus.run_until(|bus| bus.queue(0).has_used()));
    let answer = answer(&mut bus, &kept);
    assert_eq!((answer.status, answer.data), (OK, vec![0; 512]));
}

#[test]
fn a_reset_forgets_what_is_kept() {
    let (mut bus, script, _) = judged(OnError::Stop, Features::NONE);
    let read_one = |bus: &mut TestBus| submit(bus, &header(IN, 0), &[512, 1]);
    // At once, and after the worker has gone.
    for paused in [false, true] {
        script.fail([Fault::Error(libc::EIO)]);
        read_one(&mut bus);
        if paused {
            bus.core().pause();
            assert!(bus.core().save().is_err(), "it would be lost");
        }
        script.calls();
        bus.reset();
        bus.boot(Features::VERSION_1);
        bus.run();
        assert_eq!(script.calls(), []);
        assert_eq!(read(&mut bus, 1, 512).status, OK);
        bus.core().pause();
        assert!(bus.core().save().is_ok());
        bus.core().resume();
    }
}

#[test]
fn a_queue_reset_forgets_what_is_kept_of_it() {
    let (mut bus, script, _) = judged(OnError::Stop, Features::RING_RESET);
    script.fail([Fault::Error(libc::EIO)]);
    submit(&mut bus, &header(IN, 0), &[512, 1]);
    bus.reset_queue(0);
    bus.set_up_queue(0, 64);
    script.calls();
    stop_and_go(&mut bus);
    assert_eq!(script.calls(), []);
    assert_eq!(read(&mut bus, 1, 512).status, OK);
    assert!(!bus.queue(0).has_used());
}
