//! Requests that are served elsewhere: parallel, flushed, and in the way of a stop.

mod common;

use std::sync::Arc;

use common::*;
use testkit::p9::{Body, message};
use testkit::{Request, Response, TestBus};
use virtio_9p::p9_server::{FileSystem, Limits, Synth};
use virtio_9p::{NineP, NinePProps};
use virtio_device::VirtioDevice;

/// A device whose client has `FLUSH` open as fid 1.
fn blocked(executor: Arc<dyn virtio_9p::Executor>) -> TestBus {
    let mut bus = TestBus::new(synth().with_executor(executor));
    bus.boot(formats()[0]);
    open(&mut bus);
    bus
}

fn open(bus: &mut TestBus) {
    let mut client = attached(bus);
    client.walk(0, 1, &[b"FLUSH"]).unwrap();
    client.lopen(1, WRONLY).unwrap();
}

/// A write that waits until it is given up, if `byte` is not 0.
fn write(bus: &mut TestBus, tag: u16, byte: u8) -> Request {
    let request = message(118, tag, &Body::write(1, 0, &[byte]));
    let sent = bus.submit(0, &[&request], &[64]);
    bus.run();
    sent
}

fn flush(bus: &mut TestBus, tag: u16, old: u16) -> Request {
    let sent = bus.submit(0, &[&message(108, tag, &Body::new().u16(old))], &[64]);
    bus.run();
    sent
}

/// The answers to `requests`, in the order in which they are used.
fn answers(bus: &mut TestBus, requests: &[&Request]) -> Vec<(usize, Response)> {
    let mut answers = Vec::new();
    for _ in requests {
        assert!(bus.run_until(|bus| bus.queue(0).has_used()), "an answer");
        let used = bus.queue(0).collect().unwrap();
        let which = requests.iter().position(|request| request.id == used.id);
        let which = which.expect("one of these");
        answers.push((which, bus.response(requests[which], used)));
    }
    answers
}

#[test]
fn a_request_that_waits_holds_up_no_other() {
    let mut bus = blocked(Arc::new(Threads));
    let waiting = write(&mut bus, 7, 1);
    assert_eq!(attached_again(&mut bus), 102);
    assert!(!bus.queue(0).has_used());
    let flushing = flush(&mut bus, 8, 7);
    let answers = answers(&mut bus, &[&waiting, &flushing]);
    assert_eq!(answers[0].0, 0, "the flushed one first");
    assert_eq!(answers[0].1.len, 0, "and without a reply");
    assert_eq!(answers[1].1.bytes[..7], [7, 0, 0, 0, 109, 8, 0]);
}

/// Other traffic, of another fid.
fn attached_again(bus: &mut TestBus) -> usize {
    let root = message(
        110,
        50,
        &Body::new().u32(0).u32(9).u16(1).string("ReadDirDir"),
    );
    let walked = two_in_flight(bus, &root);
    assert_eq!(walked[4], 111);
    let opened = two_in_flight(bus, &message(12, 51, &Body::new().u32(9).u32(0)));
    assert_eq!(opened[4], 13);
    let list = message(40, 52, &Body::new().u32(9).u64(0).u32(8000));
    let listed = two_in_flight(bus, &list);
    let mut at = 11;
    let mut count = 0;
    while at < listed.len() {
        at += 24 + usize::from(u16::from_le_bytes([listed[at + 22], listed[at + 23]]));
        count += 1;
    }
    count
}

fn two_in_flight(bus: &mut TestBus, request: &[u8]) -> Vec<u8> {
    let sent = bus.submit(0, &[request], &[8192]);
    let (_, response) = answers(bus, &[&sent]).remove(0);
    response.bytes[..response.len as usize].to_vec()
}

#[test]
fn a_flush_of_what_is_done_is_answered_at_once() {
    let mut bus = blocked(Arc::new(Threads));
    let done = write(&mut bus, 7, 0);
    let flushing = flush(&mut bus, 8, 7);
    let answers = answers(&mut bus, &[&done, &flushing]);
    assert_eq!(
        answers[0].1.bytes[..11],
        [11, 0, 0, 0, 119, 7, 0, 1, 0, 0, 0]
    );
    assert_eq!(answers[1].1.bytes[..7], [7, 0, 0, 0, 109, 8, 0]);
    let unknown = flush(&mut bus, 9, 1234);
    let (_, response) = self::answers(&mut bus, &[&unknown]).remove(0);
    assert_eq!(response.len, 7);
}

/// A request that got through in spite of a flush has its reply, before the flush has.
#[test]
fn a_flush_waits_for_a_request_that_is_not_broken_off() {
    let hand = ByHand::default();
    let directory = tempfile::tempdir().unwrap();
    let device = device(local(&directory)).with_executor(Arc::new(hand.clone()));
    let mut bus = TestBus::new(device);
    bus.boot(formats()[1]);
    let mut client = attached(&mut bus);
    client.walk(0, 1, &[]).unwrap();
    client.lcreate(1, "file", RDWR | CREAT, 0o600).unwrap();
    let sync = message(50, 7, &Body::new().u32(1).u32(0));
    let syncing = bus.submit(0, &[&sync], &[64]);
    bus.run();
    let flushing = [8, 9].map(|tag| flush(&mut bus, tag, 7));
    assert!(!bus.queue(0).has_used(), "all three wait");
    hand.take(true).unwrap()();
    let answers = answers(&mut bus, &[&syncing, &flushing[0], &flushing[1]]);
    assert_eq!(answers[0].0, 0);
    assert_eq!(answers[0].1.bytes[..7], [7, 0, 0, 0, 51, 7, 0]);
    assert_eq!(answers[1].1.bytes[4], 109);
    assert_eq!(answers[2].1.bytes[4], 109);
}

#[test]
fn requests_are_answered_in_the_order_in_which_they_are_done() {
    let hand = ByHand::default();
    let mut bus = blocked(Arc::new(hand.clone()));
    let sent: Vec<_> = (10..20).map(|tag| write(&mut bus, tag, 1)).collect();
    assert_eq!(hand.waiting(), 10);
    for tag in (10..20).rev() {
        flush(&mut bus, tag + 100, tag);
        hand.take(false).unwrap()();
        bus.run();
        let used = bus.queue(0).collect().unwrap();
        assert_eq!(used.id, sent[usize::from(tag) - 10].id);
        bus.queue(0).collect().expect("the flush");
    }
}

#[test]
fn a_version_waits_for_all_that_are_in_flight() {
    let mut bus = blocked(Arc::new(Threads));
    let waiting = [write(&mut bus, 7, 1), write(&mut bus, 8, 1)];
    let body = Body::new().u32(8192).string("9P2000.L");
    let version = bus.submit(0, &[&message(100, 0xffff, &body)], &[64]);
    let answers = answers(&mut bus, &[&waiting[0], &waiting[1], &version]);
    assert_eq!(answers[2].0, 2, "it is the last");
    assert_eq!(answers[2].1.bytes[4], 101);
    assert_eq!(answers[0].1.bytes[4], 7, "the others were broken off");
}

#[test]
fn a_reset_a_pause_and_a_queue_reset_end_what_waits() {
    for _ in 0..20 {
        let mut bus = blocked(Arc::new(Threads));
        let waiting = write(&mut bus, 7, 1);
        bus.core().pause();
        bus.core().resume();
        let (_, response) = answers(&mut bus, &[&waiting]).remove(0);
        assert_eq!(response.bytes[4], 7, "broken off");
        write(&mut bus, 8, 1);
        bus.reset();
        bus.boot(formats()[1] | virtio_device::Features::RING_RESET);
        open(&mut bus);
        write(&mut bus, 9, 1);
        bus.reset_queue(0);
        bus.set_up_queue(0, 64);
        bus.run();
        let mut client = testkit::p9::Client::new(OnBus(&mut bus));
        client.walk(0, 5, &[b"WRITE"]).unwrap();
    }
}

#[test]
fn an_executor_that_takes_nothing_or_loses_everything_does_no_harm() {
    let directory = tempfile::tempdir().unwrap();
    let mut bus = TestBus::new(device(local(&directory)).with_executor(Arc::new(Full)));
    bus.boot(formats()[0]);
    let mut client = attached(&mut bus);
    client.walk(0, 1, &[]).unwrap();
    client.lcreate(1, "file", RDWR | CREAT, 0o600).unwrap();
    client.fsync(1).unwrap();
    let hand = ByHand::default();
    let mut bus = blocked(Arc::new(hand.clone()));
    let lost = write(&mut bus, 7, 1);
    drop(hand.take(true));
    let (_, response) = answers(&mut bus, &[&lost]).remove(0);
    assert_eq!(response.len, 0);
    assert_eq!(attached_again(&mut bus), 102);
}

#[test]
fn what_is_mounted_cannot_be_saved() {
    let mut bus = TestBus::new(synth());
    bus.boot(formats()[0]);
    attached(&mut bus);
    bus.core().pause();
    assert!(bus.core().save().is_err());
    bus.core().resume();
    testkit::p9::Client::new(OnBus(&mut bus)).clunk(0).unwrap();
    bus.core().pause();
    bus.core().save().unwrap();
}

#[test]
fn the_tag_is_in_the_configuration_space() {
    let device = synth();
    let info = VirtioDevice::info(&device);
    assert_eq!(info.features, virtio_device::Features::bit(0));
    assert_eq!(
        (info.queue_sizes.len(), info.queue_sizes[0].get()),
        (1, 128)
    );
    let mut bytes = [0; 9];
    VirtioDevice::config(&device).read(0, &mut bytes);
    assert_eq!(&bytes, b"\x05\0share\xff\xff");
    for bad in [None, Some(String::new()), Some("t".repeat(32))] {
        assert!(make(NinePProps::default().mount_tag(bad)).is_none());
    }
    assert!(make(NinePProps::default().mount_tag(Some("t".repeat(31)))).is_some());
}

fn make(props: NinePProps) -> Option<NineP<impl FileSystem>> {
    NineP::new(&props, Arc::new(Synth::new()), Limits::default()).ok()
}
