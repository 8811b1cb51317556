//! Messages in chains of any shape, most of them not as a good driver makes them.

mod common;

use std::fs;

use common::*;
use proptest::prelude::*;
use tempfile::TempDir;
use testkit::p9::{Body, Client, message};
use testkit::{Response, Segment, TestBus, clear_dirty, is_dirty};

/// A device whose client has a file of these contents open as fid 1.
fn with_file(contents: &[u8], msize: u32) -> (TempDir, TestBus) {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("file"), contents).unwrap();
    let mut bus = TestBus::new(device(local(&directory)));
    bus.boot(formats()[0]);
    let mut client = Client::new(OnBus(&mut bus));
    client.version(msize, "9P2000.L").unwrap();
    client.attach(0, 0).unwrap();
    client.walk(0, 1, &[b"file"]).unwrap();
    client.lopen(1, RDWR).unwrap();
    (directory, bus)
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i ^ i >> 8 ^ i >> 16) as u8).collect()
}

fn read(count: u32) -> Vec<u8> {
    message(116, 1, &Body::new().u32(1).u64(0).u32(count))
}

fn write(data: &[u8]) -> Vec<u8> {
    message(118, 1, &Body::write(1, 0, data))
}

/// The error of an Rlerror.
fn errno(response: &Response) -> Option<u32> {
    let bytes = &response.bytes[..response.len as usize];
    (bytes.len() == 11 && bytes[4] == 7)
        .then(|| u32::from_le_bytes(*bytes[7..].first_chunk().unwrap()))
}

/// `bytes` in pieces that end where `cuts` say.
fn pieces<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut ends: Vec<_> = cuts.iter().map(|cut| cut % bytes.len()).collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    let mut start = 0;
    ends.into_iter()
        .map(|end| {
            let piece = &bytes[start..end];
            start = end;
            piece
        })
        .filter(|piece| !piece.is_empty())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn bug_23_any_cut_of_a_message_is_the_same(
        cuts in prop::collection::vec(any::<usize>(), 0..8),
        back in prop::collection::vec(1..600u32, 0..8),
    ) {
        let (directory, mut bus) = with_file(b"", 8192);
        let data = pattern(3000);
        let request = write(&data);
        let mut room = back.clone();
        room.push(11);
        let response = bus.request(0, &pieces(&request, &cuts), &room);
        prop_assert_eq!(&response.bytes[..11], &[11, 0, 0, 0, 119, 1, 0, 0xb8, 0x0b, 0, 0]);
        prop_assert_eq!(&fs::read(directory.path().join("file")).unwrap(), &data);
        room.push(4000);
        let request = read(3000);
        let response = bus.request(0, &pieces(&request, &cuts), &room);
        prop_assert_eq!(response.len, 3011);
        prop_assert_eq!(&response.bytes[11..3011], &data[..]);
    }
}

#[test]
fn transfers_as_long_as_messages_get() {
    let data = pattern(512_000 - 24);
    let (directory, mut bus) = with_file(&[], 512_000);
    let request = write(&data);
    let pages: Vec<_> = request.chunks(4096).collect();
    let response = bus.request(0, &pages, &[11]);
    assert_eq!(response.bytes[4], 119);
    assert_eq!(fs::read(directory.path().join("file")).unwrap(), data);
    let mut room = vec![11];
    room.resize(126, 4096);
    let response = bus.request(0, &[&read(u32::MAX)], &room);
    assert_eq!(response.len as usize, data.len() + 11);
    assert_eq!(response.bytes[11..data.len() + 11], data);
}

#[test]
fn pages_that_were_read_into_are_dirty_and_others_are_not() {
    let (_directory, mut bus) = with_file(&pattern(5000), 32 << 10);
    let request = bus.submit(0, &[&read(5000)], &[11, 16 << 10]);
    clear_dirty(bus.memory());
    assert!(bus.run_until(|bus| bus.queue(0).has_used()));
    let data = request.segments[2].address;
    assert!(is_dirty(bus.memory(), data, 5000));
    let after = (data + 5000).next_multiple_of(4096);
    assert!(!is_dirty(bus.memory(), after, 4096));
}

#[test]
fn bug_16_what_is_no_message_is_answered_as_far_as_it_can_be() {
    let (_directory, mut bus) = with_file(b"data", 8192);
    let too_long = [&[200, 0, 0, 0, 120, 1, 0][..], &[0; 20]].concat();
    assert_eq!(
        errno(&bus.request(0, &[&too_long], &[64])),
        Some(90),
        "EMSGSIZE"
    );
    for size in [0u8, 6] {
        let short = [size, 0, 0, 0, 120, 1, 0];
        assert_eq!(errno(&bus.request(0, &[&short], &[64])), Some(90));
    }
    for none in [&[][..], &[&[7, 0, 0, 0, 120, 1][..]]] {
        let response = bus.request(0, none, &[64]);
        assert_eq!(response.len, 0, "nobody to answer");
    }
    assert!(!bus.needs_reset());
}

#[test]
fn bug_63_replies_are_no_longer_than_their_room() {
    let (_directory, mut bus) = with_file(&pattern(1000), 8192);
    let attributes = message(24, 1, &Body::new().u32(1).u64(0x7ff));
    for room in [0, 1, 6, 7, 10] {
        let writable: &[u32] = if room == 0 { &[] } else { &[room] };
        assert_eq!(bus.request(0, &[&attributes], writable).len, 0, "{room}");
    }
    for room in [11, 50, 159] {
        assert_eq!(
            errno(&bus.request(0, &[&attributes], &[room])),
            Some(90),
            "{room}"
        );
    }
    assert_eq!(bus.request(0, &[&attributes], &[160]).len, 160);
    // A read gives what there is room for.
    let response = bus.request(0, &[&read(1000)], &[111]);
    assert_eq!((response.len, response.bytes[7]), (111, 100));
    assert_eq!(bus.request(0, &[&read(1000)], &[11]).len, 11);
}

#[test]
fn data_that_is_no_memory_is_an_error_and_nothing_is_moved() {
    let (directory, mut bus) = with_file(b"before", 8192);
    let request = message(118, 1, &Body::write(1, 0, &[7; 100]));
    let head = bus.heap().alloc(64, 1);
    bus.ram().write(head, &request[..60]);
    let reply = bus.heap().alloc(64, 1);
    let segments = [
        (head, 60, false),
        (testkit::END, 63, false),
        (reply, 64, true),
    ]
    .map(|(address, len, writable)| Segment {
        address,
        len,
        writable,
    });
    bus.queue(0).add(&segments).unwrap();
    bus.queue(0).publish();
    bus.notify(0);
    bus.run();
    assert_eq!(bus.queue(0).collect().unwrap().len, 11);
    assert_eq!(
        bus.ram().read(reply, 11)[4..],
        [7, 1, 0, 14, 0, 0, 0],
        "EFAULT"
    );
    assert_eq!(fs::read(directory.path().join("file")).unwrap(), b"before");
}
