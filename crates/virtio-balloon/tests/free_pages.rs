//! Free page hints and reports (sections 5.5.6.6 and 5.5.6.7).

mod common;

use std::sync::{Arc, Mutex};

use common::*;
use testkit::{BOUNDARY, END, Segment};
use virtio_balloon::BalloonProps;
use virtio_device::Features;

type Hinted = Arc<Mutex<Vec<(u64, u64)>>>;

fn command(guest: &Guest) -> u32 {
    let bytes = guest.bus.read_config(8, 4);
    u32::from_le_bytes(bytes.try_into().unwrap())
}

/// Asks for hints.
fn request(guest: &Guest) -> (u32, Hinted) {
    let hinted = Hinted::default();
    let sink = hinted.clone();
    guest
        .handle
        .request_hints(move |address, len| sink.lock().unwrap().push((address, len)));
    (command(guest), hinted)
}

fn say(guest: &mut Guest, command: u32) {
    let bytes = command.to_le_bytes();
    assert_eq!(guest.bus.request(HINTS, &[&bytes], &[]).len, 0);
}

/// Offers ranges that the device may write to.
fn offer(guest: &mut Guest, queue: u16, ranges: &[(u64, u32)]) {
    let segments: Vec<_> = ranges
        .iter()
        .map(|&(address, len)| Segment {
            address,
            len,
            writable: true,
        })
        .collect();
    guest.bus.queue(queue).add(&segments).expect("room");
    guest.bus.queue(queue).publish();
    guest.bus.notify(queue);
    guest.bus.run();
    let used = guest.bus.queue(queue).collect().expect("an answer");
    assert_eq!(used.len, 0, "nothing is written");
}

const AT: u64 = (FREE as u64) << 12;

#[test]
fn hints_count_for_the_request_that_they_answer() {
    let mut guest = Guest::new();
    assert_eq!(command(&guest), 0);
    offer(&mut guest, HINTS, &[(AT, 4096)]);
    let (id, hinted) = request(&guest);
    assert!(id >= 0x8000_0000);
    offer(&mut guest, HINTS, &[(AT, 4096)]);
    say(&mut guest, id - 1);
    offer(&mut guest, HINTS, &[(AT, 4096)]);
    assert!(hinted.lock().unwrap().is_empty(), "of no request");
    say(&mut guest, id);
    offer(&mut guest, HINTS, &[(AT, 4096), (AT + 8192, 8192)]);
    say(&mut guest, 0);
    offer(&mut guest, HINTS, &[(AT, 4096)]);
    assert_eq!(*hinted.lock().unwrap(), [(AT, 4096), (AT + 8192, 8192)]);
    assert!(guest.calls().is_empty(), "hinted pages may be in use again");
}

#[test]
fn a_new_request_has_a_new_identifier() {
    let mut guest = Guest::new();
    let (first, old) = request(&guest);
    say(&mut guest, first);
    let (second, new) = request(&guest);
    assert_ne!(first, second);
    offer(&mut guest, HINTS, &[(AT, 4096)]);
    assert!(old.lock().unwrap().is_empty() && new.lock().unwrap().is_empty());
    say(&mut guest, second);
    offer(&mut guest, HINTS, &[(AT, 4096)]);
    assert_eq!(
        (old.lock().unwrap().len(), new.lock().unwrap().len()),
        (0, 1)
    );
    // A reset does not make the driver forget what it has been asked.
    guest.bus.reset();
    assert_eq!(command(&guest), 0);
    assert!(![first, second].contains(&request(&guest).0));
}

#[test]
fn the_guest_has_its_pages_back_at_the_end() {
    let mut guest = Guest::new();
    let (id, hinted) = request(&guest);
    say(&mut guest, id);
    let before = guest.bus.interrupts().config();
    guest.handle.end_hints();
    assert_eq!(command(&guest), 1, "VIRTIO_BALLOON_CMD_ID_DONE");
    assert_eq!(guest.bus.interrupts().config(), before + 1);
    offer(&mut guest, HINTS, &[(AT, 4096)]);
    assert!(hinted.lock().unwrap().is_empty());
}

#[test]
fn hints_outside_of_memory_are_none() {
    let mut guest = Guest::new();
    let (id, hinted) = request(&guest);
    say(&mut guest, id);
    for range in [(END - 4096, 8192), (END, 4096), (u64::MAX - 8191, 4096)] {
        offer(&mut guest, HINTS, &[range]);
    }
    assert!(hinted.lock().unwrap().is_empty());
}

#[test]
fn reported_pages_are_reclaimed_before_they_come_back() {
    let mut guest = Guest::new();
    offer(&mut guest, REPORTS, &[(AT, 8192), (AT + 4 * 4096, 4096)]);
    assert_eq!(guest.calls(), [8192, 4096]);
    assert_eq!(
        guest.gone(FREE..FREE + 8),
        [0, 1, 4].map(|page| FREE + page)
    );
}

#[test]
fn bug_67_a_report_that_leaves_its_region_is_refused() {
    let mut guest = Guest::new();
    for range in [
        (END - 4096, 8192),
        (END, 4096),
        (u64::MAX - 8191, 4096),
        (AT, u32::MAX),
    ] {
        offer(&mut guest, REPORTS, &[range]);
        assert!(guest.calls().is_empty(), "{range:x?}");
    }
    assert!(guest.handle.refused() > 0);
    offer(&mut guest, REPORTS, &[(BOUNDARY - 4096, 8192)]);
    assert_eq!(guest.calls(), [4096, 4096], "two regions that touch");
    assert!(!guest.bus.needs_reset());
}

#[test]
fn pages_that_are_poisoned_stay() {
    let mut guest = Guest::new();
    guest.bus.core().write_config(12, &[0xaa, 0, 0, 0]);
    offer(&mut guest, REPORTS, &[(AT, 4096)]);
    assert!(guest.calls().is_empty(), "they would come back as zeroes");
    guest.bus.core().write_config(12, &[0; 4]);
    offer(&mut guest, REPORTS, &[(AT, 4096)]);
    assert_eq!(guest.calls(), [4096]);
    // Without the feature the value means nothing.
    let mut guest = Guest::with(&everything(), Marker::new(4096), PAGE_POISON);
    guest.bus.core().write_config(12, &[0xaa, 0, 0, 0]);
    offer(&mut guest, REPORTS, &[(AT, 4096)]);
    assert_eq!(guest.calls(), [4096]);
}

#[test]
fn queues_are_numbered_one_after_the_other() {
    let props = BalloonProps::default().free_page_reporting(true);
    let mut guest = Guest::with(&props, Marker::new(4096), Features::NONE);
    assert_eq!(guest.bus.core().queue_count(), 4);
    offer(&mut guest, 3, &[(AT, 4096)]);
    assert_eq!(guest.calls(), [4096]);
    // Nor does a driver number those that it does not want.
    let mut guest = Guest::with(&everything(), Marker::new(4096), FREE_PAGE_HINT);
    offer(&mut guest, 3, &[(AT, 4096)]);
    assert_eq!(guest.calls(), [4096]);
}

#[test]
fn the_configuration_space_ends_after_what_is_offered() {
    for (props, len) in [
        (BalloonProps::default(), 16),
        (BalloonProps::default().page_poison(false), 8),
        (
            BalloonProps::default()
                .page_poison(false)
                .free_page_hint(true),
            12,
        ),
    ] {
        let guest = Guest::with(&props, Marker::new(4096), Features::NONE);
        let space = guest.bus.read_config(0, 20);
        assert!(space[..len].iter().all(|&byte| byte == 0));
        assert!(space[len..].iter().all(|&byte| byte == 0xff));
    }
}
