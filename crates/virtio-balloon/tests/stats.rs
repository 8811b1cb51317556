//! Statistics (section 5.5.6.4).

mod common;

use common::*;
use virtio_balloon::{Stat, Stats};
use virtio_device::Features;

fn entry(tag: u16, value: u64) -> Vec<u8> {
    [&tag.to_le_bytes()[..], &value.to_le_bytes()].concat()
}

fn send(guest: &mut Guest, entries: &[Vec<u8>]) -> Stats {
    guest.bus.submit(STATS, &[&entries.concat()], &[]);
    guest.bus.run();
    guest.handle.report().stats
}

#[test]
fn entries_come_in_any_order_and_unknown_ones_are_ignored() {
    let mut guest = Guest::new();
    assert_eq!(guest.handle.report().at, None);
    let entries = [(5, 500), (99, 1), (u16::MAX, 2), (0, 0), (4, 400)];
    let stats = send(&mut guest, &entries.map(|(tag, value)| entry(tag, value)));
    assert_eq!(stats.value(Stat::TotalMemory), Some(500));
    assert_eq!(stats.value(Stat::FreeMemory), Some(400));
    assert_eq!(stats.value(Stat::SwapIn), Some(0));
    assert_eq!(stats.value(Stat::SwapOut), None);
    assert!(guest.handle.report().at.is_some());
    // New ones replace all of them; half an entry is none.
    let mut half = entry(4, 1);
    half.truncate(9);
    let stats = send(&mut guest, &[entry(15, 3), half]);
    assert_eq!(stats.value(Stat::ReclaimedDirect), Some(3));
    assert_eq!(stats.value(Stat::FreeMemory), None);
}

#[test]
fn the_buffer_is_kept_until_new_ones_are_wanted() {
    let mut guest = Guest::new();
    send(&mut guest, &[entry(4, 1)]);
    assert!(!guest.bus.queue(STATS).has_used());
    assert_eq!(guest.handle.interval(), 0);
    guest.handle.set_interval(1).unwrap();
    assert!(guest.bus.run_until(|bus| bus.queue(STATS).has_used()));
    assert_eq!(guest.bus.queue(STATS).collect().unwrap().len, 0);
    send(&mut guest, &[entry(4, 2)]);
    assert!(guest.bus.run_until(|bus| bus.queue(STATS).has_used()));
    guest.handle.set_interval(0).unwrap();
    assert_eq!(guest.handle.interval(), 0);
}

#[test]
fn a_driver_that_sends_two_has_the_first_one_back() {
    let mut guest = Guest::new();
    send(&mut guest, &[entry(4, 1)]);
    send(&mut guest, &[entry(4, 2)]);
    assert!(guest.bus.queue(STATS).collect().is_some());
    assert!(guest.bus.queue(STATS).collect().is_none());
    assert_eq!(guest.bus.queue(STATS).in_flight(), 1);
}

#[test]
fn nothing_is_in_flight_in_a_paused_device() {
    let mut guest = Guest::new();
    send(&mut guest, &[entry(4, 1)]);
    guest.bus.core().pause();
    assert!(guest.bus.queue(STATS).collect().is_some());
    guest.bus.core().save().expect("a state");
    guest.bus.core().resume();
    assert_eq!(
        send(&mut guest, &[entry(4, 5)]).value(Stat::FreeMemory),
        Some(5)
    );
}

#[test]
fn a_buffer_of_any_length_is_read_in_part() {
    let mut guest = Guest::new();
    let entries: Vec<_> = (0..100).map(|n| entry(4, n)).collect();
    assert_eq!(send(&mut guest, &entries).value(Stat::FreeMemory), Some(63));
    guest.bus.submit(STATS, &[], &[16]);
    guest.bus.run();
    assert_eq!(guest.handle.report().stats, Stats::default());
    assert!(!guest.bus.needs_reset());
}

#[test]
fn names_are_qemus() {
    assert_eq!(Stat::ALL.len(), 16);
    let names: Vec<_> = Stat::ALL.iter().map(|stat| stat.name()).collect();
    assert!(names.contains(&"stat-htlb-pgalloc") && names.contains(&"stat-reclaim-direct"));
    for (tag, &stat) in Stat::ALL.iter().enumerate() {
        let mut guest = Guest::with(&everything(), Marker::new(4096), Features::NONE);
        let stats = send(&mut guest, &[entry(tag as u16, 9)]);
        assert_eq!(stats.value(stat), Some(9), "{}", stat.name());
    }
}
